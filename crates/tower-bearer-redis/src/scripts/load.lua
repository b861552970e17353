-- KEYS: record, lease. Returns the record, and for how many microseconds the lease is held.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local ends = tonumber(redis.call('HGET', KEYS[2], 'ends')) or 0
return { redis.call('GET', KEYS[1]), math.max(ends - now, 0) }
