-- A page of what is kept, and where the channel stands; nothing is written.
--
-- KEYS: log, meta
-- ARGV: `forward` or `backward`, the offset it begins behind or before (`+` for the newest),
--       entries at most, bytes at most, ms an entry is shown
local log, meta = KEYS[1], KEYS[2]
local epoch, offset = stands(meta)
if not epoch then return { false, 0, {} } end

local forward = ARGV[1] == 'forward'
local from, left, bytes = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local now, shown = milliseconds(), tonumber(ARGV[5])
local page = {}

local function field(fields, name)
    for at = 1, #fields, 2 do
        if fields[at] == name then return fields[at + 1] end
    end
end

-- Takes an entry; true when the page goes on. What is no entry of ours is passed over.
local function take(id, fields)
    local place = number(string.match(id, '^(%d+)%-0$'))
    local time, envelope = number(field(fields, 't')), field(fields, 'p')
    if not place or not time or not envelope or place > offset then return true end
    if now - time > shown then return forward end
    bytes = bytes - #envelope
    if bytes < 0 and #page > 0 then return false end
    left = left - 1
    page[#page + 1] = { place, envelope }
    return left > 0
end

-- A few at a time, for a log may be far larger than a page.
local more = left > 0
local edge = from == '+' and from or '(' .. from .. '-0'
while more do
    local some
    if forward then
        some = redis.pcall('XRANGE', log, edge, '+', 'COUNT', 16)
    else
        some = redis.pcall('XREVRANGE', log, edge, '-', 'COUNT', 16)
    end
    if some.err or #some == 0 then break end
    for _, entry in ipairs(some) do
        edge = '(' .. entry[1]
        more = take(entry[1], entry[2])
        if not more then break end
    end
end
return { epoch, offset, page }
