-- Spends one unit of a quota that all nodes share: the generic cell rate algorithm.
-- KEYS: whose it is. Its value is when everything spent so far will have refilled, in microseconds
-- of this Redis's clock; without a value nothing was spent.
-- ARGV: the time in which one unit refills, and how far ahead the value may be, in microseconds.
-- Gives: 0 when it was spent, else in how many microseconds one has refilled. A refusal spends
-- nothing.
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local interval, tolerance = tonumber(ARGV[1]), tonumber(ARGV[2])
local refilled = tonumber(redis.call('GET', KEYS[1]) or now)
if refilled < now then
  refilled = now
end
local ahead = refilled - now
-- More than a full quota was never given: the clock was set back, or the value is not ours.
if ahead > tolerance + interval then
  ahead, refilled = 0, now
end
if ahead > tolerance then
  return ahead - tolerance
end
local kept = math.ceil((ahead + interval) / 1000)
redis.call('SET', KEYS[1], string.format('%.0f', refilled + interval), 'PX', kept)
return 0
