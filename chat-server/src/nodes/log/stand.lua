-- Where a channel stands; it has an epoch from then on, and keeps it for as long as it is asked.
--
-- KEYS: log, meta
-- ARGV: epoch of a new life, ms the position is kept, epoch and offset known to the caller
local log, meta = KEYS[1], KEYS[2]
local epoch, offset, failed = stands_or_begins(log, meta, ARGV[1], ARGV[3], ARGV[4])
if failed then return failed end
-- Every node asks every few seconds: it is written only when half of the time is gone.
if redis.call('PTTL', meta) * 2 < tonumber(ARGV[2]) then
    redis.call('PEXPIRE', meta, ARGV[2])
end
return { epoch, offset }
