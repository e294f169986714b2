"""The scripts that Redis runs: each is atomic, and is what makes two processes agree.

A claim and an append are one script each. With separate commands, even in MULTI, a process that was paused between two of them
could store its checkpoint beside another's events, or append behind a checkpoint that was read already.

KEYS of each are the log (a stream), its state (a hash), and its packed entries (a stream). New entries are in the log, so that
viewers can wait for them. When it has many, the older half is packed: as many as fit in one, which takes less memory and is
read at once. The id of a packed entry is that of its last one. Times are the server's, in milliseconds. Epochs are times in
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


SIZE: Final = 16 * 1024
"""How many bytes a packed entry has at most, unless it is a single one."""
_COMMON: Final = (
    f"local SIZE = {SIZE}"
    + """
local log, meta, packed = KEYS[1], KEYS[2], KEYS[3]
local function microseconds()
  local t = redis.call('TIME')
  return t[1] * 1000000 + t[2]
end
local function now() return math.floor(microseconds() / 1000) end
-- XLEN fails for something else than a stream, which is no log: it is neither used nor deleted.
local function present()
  return redis.call('XLEN', packed) and (redis.call('XLEN', log) > 0 or redis.call('EXISTS', log) == 1)
end
local function text(number) return string.format('%.0f', number) end
-- Entries that follow each other are joined, with their lengths; any others are moved as they are.
local function pack(entries)
  local epoch, seq, data, lengths, size
  local function close()
    if not epoch then return end
    redis.call('XADD', packed, epoch .. '-' .. text(seq), 'l', table.concat(lengths, ','), 'p', table.concat(data, ','))
    epoch = nil
  end
  for _, entry in ipairs(entries) do
    local id, fields = entry[1], entry[2]
    local e, s = string.match(id, '^(%d+)-(%d+)$')
    local own = #fields == 2 and fields[1] == 'e'
    if not (own and epoch == e and tonumber(s) == seq + 1 and size + #fields[2] <= SIZE) then close() end
    if not own then
      redis.call('XADD', packed, id, unpack(fields))
    else
      if not epoch then epoch, data, lengths, size = e, {}, {}, 0 end
      seq, size = tonumber(s), size + #fields[2]
      data[#data + 1], lengths[#lengths + 1] = fields[2], #fields[2]
    end
  end
  close()
end
local function append(epoch, after, first, resets, unpacked)
  local seq = after
  local reset = false
  for i = first, #ARGV do
    seq = seq + 1
    redis.call('XADD', log, epoch .. '-' .. text(seq), 'e', ARGV[i])
    if resets[i - first + 1] == '1' then reset = epoch .. '-' .. text(seq) end
  end
  redis.call('HSET', meta, 'seq', text(seq))
  if reset then redis.call('HSET', meta, 'reset', reset) end
  local length = redis.call('XLEN', log)
  while length >= 2 * unpacked do
    pack(redis.call('XRANGE', log, '-', '+', 'COUNT', unpacked))
    length = length - redis.call('XTRIM', log, 'MAXLEN', length - unpacked)
  end
end
local function flags(packed)
  local found = {}
  for i = 1, #packed do found[i] = string.sub(packed, i, i) end
  return found
end
local function keep(milliseconds)
  redis.call('PEXPIRE', log, milliseconds)
  redis.call('PEXPIRE', meta, milliseconds)
  redis.call('PEXPIRE', packed, milliseconds + 1000)  -- not before the others, or entries would seem to be missing
end
"""
)

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
    redis.call('DEL', log, meta, packed)
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
local owner, epoch, after, lease, kept, ends, resets, checkpoint, cursor, unpacked = unpack(ARGV, 1, 10)
local m = redis.call('HMGET', meta, 'epoch', 'seq', 'owner', 'ended', 'stopped')
if not present() or not m[1] then return {'lost'} end
local stopped = m[5] or ''
if m[1] ~= epoch then
  -- An older epoch: the server has lost this one.
  if tonumber(m[1]) < tonumber(epoch) then return {'behind', stopped, m[1] .. '-' .. m[2]} end
  return {'fenced'}
end
if m[3] ~= owner then return {'fenced'} end
local count, seq = #ARGV - 10, tonumber(m[2])
after = tonumber(after)
if count > 0 and seq == after + count then return {'appended', stopped} end
if m[4] then return {'fenced'} end
if seq < after then return {'behind', stopped, m[1] .. '-' .. m[2]} end
append(epoch, after, 11, flags(resets), tonumber(unpacked))
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
batch whether it begins with a Reset, checkpoint, cursor, how many entries stay unpacked at
least, and the batches. An append that is repeated has the same reply."""

RESTORE: Final = _script("""
local owner, epoch, predecessor, lease, kept, request, takeover, checkpoints, created, claims, resets, unpacked =
  unpack(ARGV, 1, 12)
local m = redis.call('HMGET', meta, 'epoch', 'seq', 'ended', 'owner')
local known = present() and m[1]
if known and m[1] == epoch and m[4] == owner and tonumber(m[2]) == #ARGV - 12 then return 1 end
if known then
  if m[3] or m[1] .. '-' .. m[2] ~= predecessor then return 0 end
elseif predecessor ~= '' then
  return 0
else
  redis.call('DEL', log, meta, packed)
  redis.call('HSET', meta, 'request', request, 'takeover', takeover, 'checkpoints', checkpoints, 'created', created)
end
redis.call('XADD', log, epoch .. '-0', 'c', predecessor)
redis.call('HSET', meta, 'epoch', epoch, 'owner', owner, 'until', text(now() + lease))
redis.call('HSET', meta, 'predecessor', predecessor, 'claims', claims)
append(epoch, 0, 13, flags(resets), tonumber(unpacked))
keep(kept)
return 1
""")
"""ARGV: owner, epoch, predecessor, lease, time to keep, request, takeover, checkpoints, created, claims, resets, how many
entries stay unpacked at least, batches."""

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

_STATE: Final = """
local m = redis.call('HMGET', meta, 'epoch', 'seq', 'ended', 'stopped', 'until', 'created', 'reset')
if not present() or not m[1] then return false end
for i = 3, 7 do m[i] = m[i] or '' end
m[8] = text(now())
"""
STATE: Final = _script(_STATE + "return m")
READ: Final = _script(
    _STATE
    + """
local after, limit, most = unpack(ARGV)
local first = '-'
if after ~= '' then first = '(' .. after elseif m[7] ~= '' then first = m[7] end
local found = redis.call('XRANGE', packed, first, '+', 'COUNT', most)
if #found < tonumber(most) then
  for _, entry in ipairs(redis.call('XRANGE', log, first, '+', 'COUNT', limit)) do found[#found + 1] = entry end
end
return {m, found}
"""
)
"""ARGV: the id behind which entries are wanted, or nothing for the latest Reset or the beginning, and how many at most: first
packed ones, and if these are fewer, others."""

INDEX: Final = _script("""
if ARGV[2] == '' then return redis.call('ZREM', KEYS[1], ARGV[1]) end
return redis.call('ZADD', KEYS[1], now() + ARGV[2], ARGV[1])
""")
"""KEYS: the index of active logs. ARGV: key, and its lease; without one it is removed."""

EXPIRED: Final = _script("""
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now(), 'LIMIT', 0, ARGV[1])
""")
"""KEYS: the index of active logs. ARGV: how many keys."""

ALL: Final = (CLAIM, APPEND, RESTORE, RELEASE, STOP, STATE, READ, INDEX, EXPIRED)
