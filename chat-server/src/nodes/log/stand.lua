-- Where a channel stands; it has an epoch from then on, and keeps it for as long as it is asked.
--
-- KEYS: log, meta
-- ARGV: epoch of a new life, ms the position is kept, epoch and offset known to the caller
local log, meta = KEYS[1], KEYS[2]
local epoch, offset = stands(meta)
if epoch == ARGV[3] and offset < tonumber(ARGV[4]) then epoch = nil end
if not epoch then
    local failed = begin(log, meta, ARGV[1])
    if failed then return failed end
    epoch, offset = ARGV[1], 0
end
-- Every node asks every few seconds: it is written only when half of the time is gone.
if redis.call('PTTL', meta) * 2 < tonumber(ARGV[2]) then
    redis.call('PEXPIRE', meta, ARGV[2])
end
return { epoch, offset }
