-- When the leases of some incarnations end.
-- KEYS: alive. ARGV: incarnations.
-- Gives: the time in ms, and for each when its lease ends, 0 for one that has none.
local clock = redis.call('TIME')
local ends = {}
for i = 1, #ARGV do
  ends[i] = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[i]) or 0)
end
return { clock[1] * 1000 + math.floor(clock[2] / 1000), ends }
