#!lua flags=no-writes
-- A record and its expiry, of one moment.
local time = redis.call('TIME')
return { redis.call('GET', KEYS[1]), redis.call('PEXPIRETIME', KEYS[1]), time[1], time[2] }
