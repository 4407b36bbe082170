-- Moves those whose lease has run out to the dead, and gives one of the dead to look after.
-- KEYS: alive, dead, died. ARGV: how long whoever looks after it has, in ms; those to be buried.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
for i = 2, #ARGV do
  local ends = redis.call('ZSCORE', KEYS[1], ARGV[i])
  if ends and tonumber(ends) <= now then
    redis.call('ZREM', KEYS[1], ARGV[i])
    redis.call('ZADD', KEYS[2], now, ARGV[i])
    redis.call('HSET', KEYS[3], ARGV[i], now)
  end
end
local due = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 1)
if due[1] then
  redis.call('ZADD', KEYS[2], now + ARGV[1], due[1])
end
return due
