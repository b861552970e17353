-- KEYS: record, lease. ARGV: owner, fence, record, for how many milliseconds it is kept, channel, what is published.
-- Returns whether the lease is held, so that the record was replaced.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local held = redis.call('HMGET', KEYS[2], 'owner', 'fence', 'ends')
if held[1] ~= ARGV[1] or held[2] ~= ARGV[2] or (tonumber(held[3]) or 0) <= now then
  return 0
end
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
-- News is a hint: the record is replaced also if the user must not publish.
redis.pcall('PUBLISH', ARGV[5], ARGV[6])
return 1
