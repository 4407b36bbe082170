-- Begins every script here: where a channel stands, or nothing.
--
-- Whoever wrote nonsense there has ended the channel's life: what cannot be read is as good as
-- gone. A position of ours beyond what stands here was lost by a Redis that came back without it.

local function number(text)
    local value = type(text) == 'string' and string.match(text, '^%d+$') and tonumber(text)
    return value and value < 9007199254740992 and value or nil
end

local function stands(meta)
    local found = redis.pcall('HMGET', meta, 'epoch', 'offset')
    if found.err then return nil end
    local epoch, offset = found[1], number(found[2])
    if not epoch or not offset or #epoch > 32 or not string.match(epoch, '^[%w.-]+$') then
        return nil
    end
    return epoch, offset
end

local function milliseconds()
    local time = redis.call('TIME')
    return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Begins a new life; an error, if that cannot be.
local function begin(log, meta, epoch)
    -- First of all a command that a full Redis refuses: after any other, a script may write on.
    local began = redis.pcall('HSET', meta, 'epoch', epoch, 'offset', '0')
    if type(began) == 'table' and began.err then
        if not string.find(began.err, 'WRONGTYPE') then return began end
        redis.call('DEL', meta)
        redis.call('HSET', meta, 'epoch', epoch, 'offset', '0')
    end
    redis.call('DEL', log)
end

-- Where a channel stands, in a new life where there is none, or where less stands than the caller
-- knows; then an error, if that cannot be.
local function stands_or_begins(log, meta, life, known_epoch, known_offset)
    local epoch, offset = stands(meta)
    if epoch and (epoch ~= known_epoch or offset >= tonumber(known_offset)) then
        return epoch, offset
    end
    return life, 0, begin(log, meta, life)
end
