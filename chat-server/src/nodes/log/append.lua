-- Gives a publication its place, keeps it and says it.
--
-- KEYS: log, meta, topic
-- ARGV: epoch of a new life, envelope, size, ttl ms, ms the position is kept,
--       epoch and offset known to the caller, the command that says it
local log, meta, topic = KEYS[1], KEYS[2], KEYS[3]
local envelope = ARGV[2]

local epoch, offset, failed = stands_or_begins(log, meta, ARGV[1], ARGV[6], ARGV[7])
if failed then return failed end

local function add()
    offset = offset + 1
    local id = string.format('%.0f-0', offset)
    local add = { 'XADD', log, 'MAXLEN', ARGV[3], id, 't', milliseconds(), 'p', envelope }
    return redis.pcall(unpack(add))
end
local added = add()
if added.err and (string.find(added.err, 'WRONGTYPE') or string.find(added.err, 'smaller')) then
    -- What is in the log is not of this life.
    redis.call('DEL', log)
    epoch, offset = ARGV[1], 0
    added = add()
end
if added.err then return added end

redis.call('HSET', meta, 'epoch', epoch, 'offset', string.format('%.0f', offset))
redis.call('PEXPIRE', log, ARGV[4])
redis.call('PEXPIRE', meta, ARGV[5])
local stamp = string.char(1, #epoch) .. epoch .. struct.pack('>I8', offset)
redis.call(ARGV[8], topic, stamp .. envelope)
return { epoch, offset }
