#!lua flags=allow-oom
-- Records a result.
--
-- ARGV: 1 the record as it was granted   2 the finished record   3 ttl, ms
local key, granted, finished, sub = KEYS[1], ARGV[1], ARGV[2], string.sub
local is = redis.call('GET', key)

-- By far the most common case: nothing has happened since the grant.
if is == granted then
  redis.call('SET', key, finished, 'PX', ARGV[3])
  return 'K'
end

if not is then return 'A' end
local attempt, failures, late, keep, started, rest =
  string.match(is, '^(%d+),(%d+),(%d+),(%d+),(%d+)()[,|]', 122)
if not string.find(is, '^idr1[CFIPR]') or not attempt then return 'L' .. is end

-- The codec and the result of a finished record.
local function result(text)
  local codec, bar = string.match(text, '^%d+,%d+,%d+,%d+,%d+,(%d+),%d+,%d+()|', 122)
  return codec and codec .. sub(text, bar)
end

if sub(is, 6, 53) == sub(granted, 6, 53) then
  local state = sub(is, 5, 5)
  if state == 'P' or state == 'I' then
    -- A waiter, a note, a step, a doubt or a late completion came in between: keep what counts.
    local tail = string.match(finished, '^%d+,%d+,%d+,%d+,%d+()', 122)
    redis.call('SET', key, sub(finished, 1, 5) .. sub(is, 6, 53) .. '--' .. sub(is, 56, rest - 1)
      .. sub(finished, tail), 'PX', ARGV[3])
    if sub(is, 54, 54) == 'w' then redis.pcall('PUBLISH', key, sub(finished, 5, 5)) end
    return 'K'
  end
  if state == sub(finished, 5, 5) and result(is) == result(finished) then return 'R' end
end

-- The effect has happened twice: leave a trace of it.
late = math.min(late + 1, 4294967295)
redis.call('SET', key, sub(is, 1, 121)
  .. string.format('%s,%s,%.0f,%s,%s', attempt, failures, late, keep, started) .. sub(is, rest), 'KEEPTTL')
return 'L' .. is
