-- Removes entries of a dead incarnation from a part of a channel's clients.
-- KEYS: the clients of the channel, how many each user has.
-- ARGV: the incarnation, where to go on, about how many to look at.
-- Gives where to go on ('0' = it is done), how many clients there were before, and the entries
-- that were removed.
local before = redis.call('HLEN', KEYS[1])
local page = redis.call('HSCAN', KEYS[1], ARGV[2], 'COUNT', ARGV[3])
local removed = {}
for i = 1, #page[2], 2 do
  local entry = page[2][i + 1]
  -- Some are met twice.
  if string.sub(entry, 1, 16) == ARGV[1] and redis.call('HDEL', KEYS[1], page[2][i]) == 1 then
    removed[#removed + 1] = entry
    local length = string.byte(entry, 17) * 256 + string.byte(entry, 18)
    local user = string.sub(entry, 19, 18 + length)
    if redis.call('HINCRBY', KEYS[2], user, -1) <= 0 then
      redis.call('HDEL', KEYS[2], user)
    end
  end
end
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('DEL', KEYS[2])
end
return { page[1], before, removed }
