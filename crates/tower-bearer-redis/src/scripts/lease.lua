-- KEYS: lease. ARGV: owner, length in microseconds, for how many milliseconds the key is kept.
-- Returns 1 and the fence if the lease is given, otherwise 0 and for how many microseconds it is held.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local held = redis.pcall('HMGET', KEYS[1], 'owner', 'fence', 'ends')
if held.err then
  if not string.find(held.err, 'WRONGTYPE', 1, true) then
    return held
  end
  -- A key of another type is garbage. This removes it.
  redis.call('PEXPIRE', KEYS[1], -1)
  held = {}
end
local fence = tonumber(held[2]) or 0
local ends = tonumber(held[3]) or 0
if ends > now then
  if held[1] ~= ARGV[1] then
    return { 0, ends - now }
  end
else
  -- The clock keeps fences apart when the last one was lost; the last one keeps them apart when the clock goes back.
  fence = math.max(fence + 1, now)
end
-- A number as text loses its last digits, unless it has a format.
redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'fence', string.format('%.0f', fence),
  'ends', string.format('%.0f', now + ARGV[2]))
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return { 1, fence }
