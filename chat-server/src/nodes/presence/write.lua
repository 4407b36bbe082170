-- Clients of one node come into a channel or leave it.
-- KEYS: the clients of the channel, how many each user has, the last write of each node.
-- ARGV: the node, the number of this write, then a client and its entry, or a client and '' when
-- it leaves, for each of them.
-- Gives how many clients and users there are, and for each client whether it was there before; or
-- -1 when a later write of the node was here first.
local last = tonumber(redis.call('HGET', KEYS[3], ARGV[1]) or 0)
local number = tonumber(ARGV[2])
if number <= last then
  return { -1, 0, {} }
end
redis.call('HSET', KEYS[3], ARGV[1], number)
redis.call('EXPIRE', KEYS[3], 3600)
local function user_of(entry)
  local length = string.byte(entry, 17) * 256 + string.byte(entry, 18)
  return string.sub(entry, 19, 18 + length)
end
-- Redis may have evicted one of the two: they are made to agree again.
if redis.call('EXISTS', KEYS[1]) ~= redis.call('EXISTS', KEYS[2]) then
  redis.call('DEL', KEYS[2])
  for _, entry in ipairs(redis.call('HVALS', KEYS[1])) do
    redis.call('HINCRBY', KEYS[2], user_of(entry), 1)
  end
end
local before = {}
for i = 3, #ARGV, 2 do
  local client, entry = ARGV[i], ARGV[i + 1]
  local old = redis.call('HGET', KEYS[1], client)
  before[#before + 1] = old and 1 or 0
  if entry ~= '' then
    redis.call('HSET', KEYS[1], client, entry)
    if not old then
      redis.call('HINCRBY', KEYS[2], user_of(entry), 1)
    end
  elseif old then
    redis.call('HDEL', KEYS[1], client)
    local user = user_of(old)
    if redis.call('HINCRBY', KEYS[2], user, -1) <= 0 then
      redis.call('HDEL', KEYS[2], user)
    end
  end
end
local clients = redis.call('HLEN', KEYS[1])
if clients == 0 then
  redis.call('DEL', KEYS[2])
end
return { clients, redis.call('HLEN', KEYS[2]), before }
