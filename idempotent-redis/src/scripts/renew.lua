#!lua flags=allow-oom
-- Lets a grant hold for another lease.
--
-- ARGV: 1 the first 53 bytes of the record in progress   2 lease + keep, ms
if redis.call('GETRANGE', KEYS[1], 0, 52) == ARGV[1] then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return 'K'
end
local is = redis.call('GET', KEYS[1])
return is and 'L' .. is or 'A'
