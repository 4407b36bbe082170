-- How many clients and users are in a channel, and who, if they are not too many.
-- KEYS: the clients of the channel, how many each user has. ARGV: the most.
local clients = redis.call('HLEN', KEYS[1])
local users = redis.call('HLEN', KEYS[2])
if clients > tonumber(ARGV[1]) then
  return { clients, users, {} }
end
return { clients, users, redis.call('HVALS', KEYS[1]) }
