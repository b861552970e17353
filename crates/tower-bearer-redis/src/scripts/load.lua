-- KEYS: record, lease. Returns the record, and for how many microseconds the lease is held.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local record = redis.pcall('GET', KEYS[1])
local ends = redis.pcall('HGET', KEYS[2], 'ends')
for _, answer in ipairs({ record, ends }) do
  if type(answer) == 'table' and not string.find(answer.err, 'WRONGTYPE', 1, true) then
    return answer
  end
end
-- A key of another type is garbage as well: a record that nobody can read, or a lease that nobody holds.
if type(record) == 'table' then
  record = ''
end
if type(ends) == 'table' then
  ends = nil
end
return { record, math.max((tonumber(ends) or 0) - now, 0) }
