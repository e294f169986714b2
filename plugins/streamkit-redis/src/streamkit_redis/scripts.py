"""The scripts that Redis runs: each is atomic, and is what makes two processes agree.

A claim and an append are one script each. With separate commands, even in MULTI, a process that was paused between two of them
could store its checkpoint beside another's events, or append behind a checkpoint that was read already.

KEYS of each are the log (a stream) and its state (a hash). Times are the server's, in milliseconds. Epochs are times in
microseconds, so that they grow after the server has lost everything too, and no two claims have the same one: the server runs
one script after the other, and each takes longer than that. Otherwise the id of an event that a viewer has seen in a log that
was deleted could be valid in the next one.
"""

from hashlib import sha1
from typing import Final, NamedTuple


class Script(NamedTuple):
    """A script and the digest by which the server knows it."""

    text: bytes
    sha: str


def _script(text: str) -> Script:
    source = (_COMMON + text).encode()
    return Script(source, sha1(source, usedforsecurity=False).hexdigest())


_COMMON: Final = """
local log, meta = KEYS[1], KEYS[2]
local function microseconds()
  local t = redis.call('TIME')
  return t[1] * 1000000 + t[2]
end
local function now() return math.floor(microseconds() / 1000) end
-- XLEN fails for something else than a stream, which is no log: it is neither used nor deleted.
local function present() return redis.call('XLEN', log) > 0 or redis.call('EXISTS', log) == 1 end
local function text(number) return string.format('%.0f', number) end
local function append(epoch, after, first, resets)
  local seq = after
  local reset = false
  for i = first, #ARGV do
    seq = seq + 1
    redis.call('XADD', log, epoch .. '-' .. text(seq), 'e', ARGV[i])
    if resets[i - first + 1] == '1' then reset = epoch .. '-' .. text(seq) end
  end
  redis.call('HSET', meta, 'seq', text(seq))
  if reset then redis.call('HSET', meta, 'reset', reset) end
end
local function flags(packed)
  local found = {}
  for i = 1, #packed do found[i] = string.sub(packed, i, i) end
  return found
end
local function keep(milliseconds)
  redis.call('PEXPIRE', log, milliseconds)
  redis.call('PEXPIRE', meta, milliseconds)
end
"""

CLAIM: Final = _script("""
local owner, lease, kept, new, request, takeover, checkpoints, instead = unpack(ARGV)
local m = redis.call('HMGET', meta, 'epoch', 'seq', 'owner', 'until', 'ended', 'predecessor')
local known = present() and m[1]
local t = now()
if not (known and m[3] == owner and m[2] == '0' and not m[5]) then
  if new == '1' and known then return {m[5] and 'ended' or 'exists'} end
  if new == '0' and not known then return {'unknown'} end
  if known and m[5] then return {'ended'} end
  if known and tonumber(m[4]) > t and m[3] ~= instead then return {'held'} end
  local predecessor, epoch = '', microseconds()
  if known then
    predecessor = m[1] .. '-' .. m[2]
    epoch = math.max(epoch, m[1] + 1)
  else
    redis.call('DEL', log, meta)
    redis.call('HSET', meta, 'request', request, 'takeover', takeover, 'checkpoints', checkpoints, 'created', text(t))
  end
  redis.call('XADD', log, text(epoch) .. '-0', 'c', predecessor)
  redis.call('HSET', meta, 'epoch', text(epoch), 'seq', '0', 'owner', owner, 'until', text(t + lease), 'predecessor', predecessor)
  redis.call('HINCRBY', meta, 'claims', 1)
  keep(kept)
end
local s = redis.call('HMGET', meta,
  'epoch', 'predecessor', 'claims', 'stopped', 'created', 'request', 'takeover', 'checkpoints', 'checkpoint', 'cursor')
for i = 1, 10 do s[i] = s[i] or '' end
return {'claimed', unpack(s)}
""")
"""ARGV: owner, lease, time to keep, whether it is new, request, takeover, checkpoints, the owner whose lease may be ended."""

APPEND: Final = _script("""
local owner, epoch, after, lease, kept, ends, resets, checkpoint, cursor = unpack(ARGV, 1, 9)
local m = redis.call('HMGET', meta, 'epoch', 'seq', 'owner', 'ended', 'stopped')
if not present() or not m[1] then return {'lost'} end
local stopped = m[5] or ''
if m[1] ~= epoch then
  -- An older epoch: the server has lost this one.
  if tonumber(m[1]) < tonumber(epoch) then return {'behind', stopped, m[1] .. '-' .. m[2]} end
  return {'fenced'}
end
if m[3] ~= owner then return {'fenced'} end
local count, seq = #ARGV - 9, tonumber(m[2])
after = tonumber(after)
if count > 0 and seq == after + count then return {'appended', stopped} end
if m[4] then return {'fenced'} end
if seq < after then return {'behind', stopped, m[1] .. '-' .. m[2]} end
append(epoch, after, 10, flags(resets))
redis.call('HSET', meta, 'until', text(now() + lease))
if checkpoint ~= '' then redis.call('HSET', meta, 'checkpoint', checkpoint, 'cursor', cursor) end
if ends == '1' then
  redis.call('HSET', meta, 'ended', '1')
  redis.call('HDEL', meta, 'checkpoint', 'cursor', 'request')
end
if count > 0 then keep(kept) end
return {'appended', stopped}
""")
"""ARGV: owner, epoch, the sequence number behind which the batches belong, lease, time to keep, whether the log ends, for each
batch whether it begins with a Reset, checkpoint, cursor, and the batches. An append that is repeated has the same reply."""

RESTORE: Final = _script("""
local owner, epoch, predecessor, lease, kept, request, takeover, checkpoints, created, claims, resets = unpack(ARGV, 1, 11)
local m = redis.call('HMGET', meta, 'epoch', 'seq', 'ended', 'owner')
local known = present() and m[1]
if known and m[1] == epoch and m[4] == owner and tonumber(m[2]) == #ARGV - 11 then return 1 end
if known then
  if m[3] or m[1] .. '-' .. m[2] ~= predecessor then return 0 end
elseif predecessor ~= '' then
  return 0
else
  redis.call('DEL', log, meta)
  redis.call('HSET', meta, 'request', request, 'takeover', takeover, 'checkpoints', checkpoints, 'created', created)
end
redis.call('XADD', log, epoch .. '-0', 'c', predecessor)
redis.call('HSET', meta, 'epoch', epoch, 'owner', owner, 'until', text(now() + lease))
redis.call('HSET', meta, 'predecessor', predecessor, 'claims', claims)
append(epoch, 0, 12, flags(resets))
keep(kept)
return 1
""")
"""ARGV: owner, epoch, predecessor, lease, time to keep, request, takeover, checkpoints, created, claims, resets, batches."""

RELEASE: Final = _script("""
local m = redis.call('HMGET', meta, 'owner', 'until')
if m[1] ~= ARGV[1] then return 0 end
local t = now()
if tonumber(m[2]) > t then redis.call('HSET', meta, 'until', text(t)) end
return 1
""")
"""ARGV: owner."""

STOP: Final = _script("""
local m = redis.call('HMGET', meta, 'epoch', 'ended')
if not m[1] or m[2] then return 0 end
redis.call('HSET', meta, 'stopped', '1')
return 1
""")

STATE: Final = _script("""
local m = redis.call('HMGET', meta, 'epoch', 'seq', 'ended', 'stopped', 'until', 'created', 'reset')
if not present() or not m[1] then return false end
for i = 3, 7 do m[i] = m[i] or '' end
m[8] = text(now())
return m
""")

INDEX: Final = _script("""
if ARGV[2] == '' then return redis.call('ZREM', KEYS[1], ARGV[1]) end
return redis.call('ZADD', KEYS[1], now() + ARGV[2], ARGV[1])
""")
"""KEYS: the index of active logs. ARGV: key, and its lease; without one it is removed."""

EXPIRED: Final = _script("""
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now(), 'LIMIT', 0, ARGV[1])
""")
"""KEYS: the index of active logs. ARGV: how many keys."""

ALL: Final = (CLAIM, APPEND, RESTORE, RELEASE, STOP, STATE, INDEX, EXPIRED)
