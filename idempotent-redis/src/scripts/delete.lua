#!lua flags=allow-oom
-- Forgets a record, unless an attempt holds its key.
local key, sub = KEYS[1], string.sub
local is = redis.call('GET', key)
if not is then return 'A' end
local keep = string.match(is, '^%d+,%d+,%d+,(%d+),%d+[,|]', 122)
if not string.find(is, '^idr1[CFIPR]') or not keep then return 'L' .. is end
if sub(is, 5, 5) == 'P' then
  local left = redis.call('PTTL', key)
  -- Without an expiry, nobody knows when the lease ends.
  if left < 0 or left > tonumber(keep) then return 'B' end
end
redis.call('DEL', key)
if sub(is, 54, 54) == 'w' then redis.pcall('PUBLISH', key, 'D') end
return 'K'
