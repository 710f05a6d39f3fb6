-- Claims a key whose record was not finished a moment ago, or whose SET the server refused.
-- Judges everything again. Without a shebang, so that a full server refuses a first write that
-- needs room: it refuses to start work, and answers everything else.
--
-- ARGV: 1 the record of a first grant   2 lease, ms   3 keep, ms   4 'w' to be told of the end, or '-'
--       5 'l' if the claim was under way for so long that its fence may be too low, or '-'
local key, fresh, lease, keep, sub = KEYS[1], ARGV[1], ARGV[2], ARGV[3], string.sub

local function now()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

local is = redis.call('GET', key)
if not is then
  local text = sub(fresh, 1, 37) .. string.format('%016.0f', now()) .. sub(fresh, 54)
  redis.call('SET', key, text, 'PX', lease + keep)
  return 'G' .. text
end

local attempt, failures, late, kept, started, rest =
  string.match(is, '^(%d+),(%d+),(%d+),(%d+),(%d+)()[,|]', 122)
local fence = tonumber(sub(is, 38, 53))
if not string.find(is, '^idr1[CFIPR]') or not attempt or not fence then return 'X' .. is end
local state, ending, previous = sub(is, 5, 5), sub(is, 55, 55), sub(is, 56, 56)
local own = sub(is, 6, 37) == sub(fresh, 6, 37)
local same = sub(is, 58, 121) == sub(fresh, 58, 121)

-- A fence, and what follows the fingerprint in a record that is granted under it.
local function under(at, attempt, kept)
  local numbers = { attempt, failures, late, kept, string.format('%.0f', at - fence + started) }
  return string.format('%016.0f', at), table.concat(numbers, ',') .. sub(is, rest)
end

if state == 'C' or state == 'F' then return same and 'D' .. is or 'M' end

if state == 'P' and own then
  -- The reply to an earlier try was lost, or came late. Nobody has seen a late one's fence.
  redis.call('PEXPIRE', key, lease + kept)
  if ARGV[5] == 'l' then
    local number, numbers = under(math.max(fence + 1, now()), attempt, kept)
    is = sub(is, 1, 37) .. number .. sub(is, 54, 121) .. numbers
    redis.call('SET', key, is, 'KEEPTTL')
  end
  return 'G' .. is
end
if state == 'R' and own then return 'S' end
local clean = state == 'R' and ending == 'n'
if not same and not (clean and attempt == '1') then return 'M' end
if state == 'I' then return 'I' .. is end

if state == 'P' then
  local left = redis.call('PTTL', key)
  if left < 0 then
    -- Somebody took the expiry away, and the lease with it: one more lease.
    left = kept + lease
    redis.call('PEXPIRE', key, left)
  end
  left = left - kept
  if left > 0 then
    if ARGV[4] == 'w' and sub(is, 54, 54) ~= 'w' then
      -- The first changes nothing, and is allowed on a full server; after it, so is the second.
      redis.call('PEXPIREAT', key, redis.call('PEXPIRETIME', key))
      redis.call('SETRANGE', key, 53, 'w')
    end
    return string.format('B%.0f,%s', left, attempt)
  end
  if sub(is, 57, 57) == 'm' or sub(fresh, 57, 57) == 'm' then
    redis.call('PEXPIRE', key, kept)
    if sub(is, 54, 54) == 'w' then redis.pcall('PUBLISH', key, 'I') end
    is = 'idr1I' .. sub(is, 6, 53) .. '-' .. sub(is, 55)
    redis.call('SET', key, is, 'KEEPTTL')
    return 'I' .. is
  end
  if ending == '-' then ending = 'x' end
  -- An error, a silence or a panic: a failure.
  if string.find('exp', ending, 1, true) then
    failures = string.format('%.0f', math.min(failures + 1, 4294967295))
  end
end

if not clean then
  attempt, previous = string.format('%.0f', math.min(attempt + 1, 4294967295)), ending
end
local number, numbers = under(math.max(fence + 1, now()), attempt, keep)
is = sub(fresh, 1, 37) .. number .. sub(is, 54, 54) .. '-' .. previous .. sub(fresh, 57, 121) .. numbers
redis.call('SET', key, is, 'PX', lease + keep)
return 'G' .. is
