-- A dead incarnation was looked after, or still is.
-- KEYS: dead, died, info. ARGV: the incarnation, when it is to be looked at again, in ms from now,
-- and how long after its death it is forgotten, or '' while somebody is at it.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local died = tonumber(redis.call('HGET', KEYS[2], ARGV[1]) or 0)
if ARGV[3] ~= '' and now - died >= tonumber(ARGV[3]) then
  redis.call('ZREM', KEYS[1], ARGV[1])
  redis.call('HDEL', KEYS[2], ARGV[1])
  redis.call('HDEL', KEYS[3], ARGV[1])
  return 1
end
redis.call('ZADD', KEYS[1], 'XX', now + ARGV[2], ARGV[1])
return 0
