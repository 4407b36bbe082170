-- An incarnation has entries in channels from now on, or none any more.
-- KEYS: its channels, the number of the last change.
-- ARGV: the number of this change, 'add' or 'remove', the channels.
-- Gives 0 when a later change was here first.
if tonumber(ARGV[1]) <= tonumber(redis.call('GET', KEYS[2]) or 0) then
  return 0
end
redis.call('SET', KEYS[2], ARGV[1], 'EX', 3600)
local command = ARGV[2] == 'add' and 'SADD' or 'SREM'
redis.call(command, KEYS[1], unpack(ARGV, 3))
return 1
