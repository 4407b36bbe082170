-- One beat of a node: renews its lease and tells it who lives.
-- KEYS: alive, info, dead, life.
-- ARGV: incarnation, its info, how long the lease lasts in ms, a life if there is none yet, and
-- "new" when the incarnation has never had a lease.
-- Gives: the time in ms, the life, when its lease would have ended before this beat (0 = it had
-- none), whether it has one now, who lives with info, and who let a lease run out.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local life = redis.call('GET', KEYS[4])
if not life then
  life = ARGV[4]
  redis.call('SET', KEYS[4], life)
end
local before = redis.call('ZSCORE', KEYS[1], ARGV[1])
local holds = before or (ARGV[5] == 'new' and not redis.call('ZSCORE', KEYS[3], ARGV[1]))
if holds then
  redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[1])
  redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
end
local alive, over = {}, {}
local all = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
for i = 1, #all, 2 do
  if tonumber(all[i + 1]) > now then
    alive[#alive + 1] = all[i]
    alive[#alive + 1] = redis.call('HGET', KEYS[2], all[i]) or ''
  else
    over[#over + 1] = all[i]
  end
end
return { now, life, tonumber(before or 0), holds and 1 or 0, alive, over }
