-- A person's connections over all nodes: a hash of connections to the incarnation of their node.
-- KEYS: the hash. ARGV: the connection, the incarnation of its node, the most there may be (0 = it
-- was let in already and is only written down), how long the hash is kept in ms, then connections
-- that are known to be gone.
-- Gives: whether the connection has a seat, and when not, who has one.
for i = 5, #ARGV do
  redis.call('HDEL', KEYS[1], ARGV[i])
end
local most = tonumber(ARGV[3])
local has = redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1
if most > 0 and not has and redis.call('HLEN', KEYS[1]) >= most then
  return { 0, redis.call('HGETALL', KEYS[1]) }
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return { 1, {} }
