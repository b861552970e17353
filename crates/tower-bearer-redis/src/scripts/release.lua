-- KEYS: lease. ARGV: owner, fence, channel, what is published. The fence stays, so that the next one is greater.
local held = redis.call('HMGET', KEYS[1], 'owner', 'fence')
if held[1] ~= ARGV[1] or held[2] ~= ARGV[2] then
  return 0
end
redis.call('HDEL', KEYS[1], 'owner', 'ends')
redis.pcall('PUBLISH', ARGV[3], ARGV[4])
return 1
