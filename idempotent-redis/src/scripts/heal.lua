#!lua flags=allow-oom
-- Writes a record anew that the server has lost, unless another life of the key may have come and
-- gone since its grant.
--
-- ARGV: 1 the record   2 its expiry, ms   3 the healing window, us
local time = redis.call('TIME')
local age = time[1] * 1000000 + time[2] - string.sub(ARGV[1], 38, 53)
if age > tonumber(ARGV[3]) then return 'A' end
return redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2], 'NX') and 'H' or 'P'
