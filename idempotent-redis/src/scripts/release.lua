#!lua flags=allow-oom
-- Ends an attempt without a result.
--
-- ARGV: 1 owner, and the fence behind it if it is known
--       2 'R' frees the key, 'I' leaves it in doubt, 'N' only notes the reason
--       3 how it ended   4 failures to count, or '-' to begin the count anew
local key, holder, mode, ending, sub = KEYS[1], ARGV[1], ARGV[2], ARGV[3], string.sub
local is = redis.call('GET', key)
if not is then return 'A' end
local attempt, failures, late, keep, rest =
  string.match(is, '^(%d+),(%d+),(%d+),(%d+)(),%d+[,|]', 122)
if not string.find(is, '^idr1[CFIPR]') or not attempt or sub(is, 6, 5 + #holder) ~= holder then
  return 'L' .. is
end

local state = sub(is, 5, 5)
if state == 'P' and mode == 'N' then
  redis.call('SETRANGE', key, 54, ending)
  return 'K'
end
if mode ~= 'N' and (state == 'P' or state == 'I' and mode == 'R') then
  failures = ARGV[4] == '-' and 0 or math.min(failures + ARGV[4], 4294967295)
  redis.call('SET', key, 'idr1' .. mode .. sub(is, 6, 53) .. '-' .. ending .. sub(is, 56, 121)
    .. string.format('%s,%.0f,%s,%s', attempt, failures, late, keep) .. sub(is, rest), 'PX', keep)
  if sub(is, 54, 54) == 'w' then redis.pcall('PUBLISH', key, mode) end
  return 'K'
end
return state == mode and 'R' or 'L' .. is
