#!lua flags=allow-oom
-- Records a finished part of the operation, unless it is known, and renews the lease.
--
-- ARGV: 1 the first 53 bytes of the record in progress   2 name   3 value   4 lease + keep, ms
local key, name, value, sub = KEYS[1], ARGV[2], ARGV[3], string.sub
local is = redis.call('GET', key)
if not is then return 'A' end
local bar = string.find(is, '|', 122, true)
if sub(is, 1, 53) ~= ARGV[1] or not bar then return 'L' .. is end

redis.call('PEXPIRE', key, ARGV[4])
local at = bar + 1
while at <= #is do
  local names, values, from = string.match(is, '^(%d+),(%d+):()', at)
  if not names then return 'L' .. is end
  at = from + names + values
  if sub(is, from, from + names - 1) == name then return 'E' .. sub(is, from + names, at - 1) end
end
redis.call('APPEND', key, #name .. ',' .. #value .. ':' .. name .. value)
return 'K'
