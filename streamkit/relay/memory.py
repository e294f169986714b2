"""Logs in the memory of this process: for one process, and for tests."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import anyio

from streamkit.errors import SourceError
from streamkit.relay.log import Append, Appended, Claim, Claimed, Entry, Log, LogState, Page, Position, Restore

PURGE = 100
"""How many logs and names there are before those that have expired are deleted."""


@dataclass
class _Stored:
    epoch: int
    owner: str
    until: float
    expires: float
    created: float
    request: bytes
    takeover: str
    checkpoints: bool
    entries: list[Entry] = field(default_factory=list[Entry])
    claims: int = 1
    ended: bool = False
    stopped: bool = False
    reset: Position | None = None
    checkpoint: bytes = b""
    cursor: bytes = b""

    @property
    def last(self) -> Position:
        return self.entries[-1].position

    def index(self, after: Position) -> int:
        """Where the entries behind a position begin."""
        low, high = 0, len(self.entries)
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if self.entries[middle].position <= after else (low, middle)
        return low


class MemoryLog(Log):
    """A store of logs in memory, for viewers of the same process and event loop. Nothing survives the process.

    `clock` measures leases and expiry, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._logs: dict[str, _Stored] = {}
        self._names: dict[str, tuple[str, float]] = {}
        self._news = anyio.Event()
        self._epoch = 0
        self._purge_at = PURGE

    def _found(self, key: str) -> _Stored | None:
        stored = self._logs.get(key)
        if stored is not None and stored.expires <= self._clock():
            del self._logs[key]
            return None
        return stored

    def _purge(self) -> None:
        # Not at every claim, which would look at all logs for each.
        if len(self._logs) + len(self._names) < self._purge_at:
            return
        now = self._clock()
        for key in [key for key, stored in self._logs.items() if stored.expires <= now]:
            del self._logs[key]
        for name in [name for name, (_, expires) in self._names.items() if expires <= now]:
            del self._names[name]
        self._purge_at = PURGE + 2 * (len(self._logs) + len(self._names))

    async def claim(self, key: str, claim: Claim) -> Claimed:
        self._purge()
        now, stored = self._clock(), self._found(key)
        if stored and stored.owner == claim.owner and stored.last.sequence == 0 and not stored.ended:
            return self._claimed(stored)
        if claim.new and stored:
            return Claimed(result="ended" if stored.ended else "exists")
        if not claim.new and not stored:
            return Claimed(result="unknown")
        if stored and stored.ended:
            return Claimed(result="ended")
        if stored and stored.until > now and stored.owner != claim.instead_of:
            return Claimed(result="held")
        self._epoch = max(self._epoch + 1, time.time_ns() // 1000)  # greater than those of an earlier process, too
        if stored is None:
            created = time.time()
            stored = _Stored(self._epoch, claim.owner, 0, 0, created, claim.request, claim.takeover, claim.checkpoints)
            self._logs[key] = stored
        else:
            stored.epoch, stored.owner, stored.claims = self._epoch, claim.owner, stored.claims + 1
        stored.until, stored.expires = now + claim.lease, now + claim.keep
        predecessor = stored.last if stored.entries else None
        stored.entries.append(Entry(Position(self._epoch, 0), None, predecessor))
        self._notify()
        return self._claimed(stored)

    @staticmethod
    def _claimed(stored: _Stored) -> Claimed:
        return Claimed(
            result="claimed",
            position=stored.last,
            predecessor=stored.entries[-1].predecessor,
            claims=stored.claims,
            stopped=stored.stopped,
            created=stored.created,
            request=stored.request,
            takeover="reset" if stored.takeover == "reset" else "truncate",
            checkpoints=stored.checkpoints,
            checkpoint=stored.checkpoint,
            cursor=stored.cursor,
        )

    async def append(self, appends: Sequence[Append]) -> Sequence[Appended]:
        replies = [self._append(append) for append in appends]
        self._notify()
        return replies

    def _append(self, append: Append) -> Appended:
        stored, count, after = self._found(append.key), len(append.batches), append.after
        if stored is None:
            return Appended("lost")
        if (stored.epoch, stored.owner) != (after.epoch, append.owner):
            return Appended("fenced")
        last = stored.last
        if count and last == after.next(count):
            return Appended("appended", stored.stopped)
        if stored.ended:
            return Appended("fenced")
        if last < after:
            return Appended("behind", stored.stopped, last)
        now = self._clock()
        self._store(stored, append.batches, append.resets)
        stored.until, stored.expires = now + append.lease, now + append.keep
        if append.checkpoint:
            stored.checkpoint, stored.cursor = append.checkpoint, append.cursor
        if append.ends:
            stored.ended, stored.checkpoint, stored.cursor, stored.request = True, b"", b"", b""
        return Appended("appended", stored.stopped)

    @staticmethod
    def _store(stored: _Stored, batches: Sequence[bytes], resets: Sequence[int]) -> None:
        for number, data in enumerate(batches):
            stored.entries.append(Entry(stored.last.next(), data))
            if number in resets:
                stored.reset = stored.last

    async def restore(self, restore: Restore) -> bool:
        stored, claimed, claim = self._found(restore.key), restore.claimed, restore.claim
        if stored is None and claimed.predecessor is None:
            known = claimed.created, claimed.request, claimed.takeover, claimed.checkpoints
            self._logs[restore.key] = stored = _Stored(0, "", 0, 0, *known, claims=claimed.claims)
        elif stored and (stored.owner, stored.last) == (claim.owner, claimed.position.next(len(restore.batches))):
            return True
        elif stored is None or stored.ended or stored.last != claimed.predecessor:
            return False
        now = self._clock()
        stored.epoch, stored.owner = claimed.position.epoch, claim.owner
        stored.until, stored.expires = now + claim.lease, now + claim.keep
        stored.entries.append(Entry(claimed.position, None, claimed.predecessor))
        self._store(stored, restore.batches, restore.resets)
        self._notify()
        return True

    async def release(self, key: str, owner: str) -> None:
        stored = self._found(key)
        if stored and stored.owner == owner:
            stored.until = min(stored.until, self._clock())

    async def read(self, key: str, after: Position | None, limit: int = 1000) -> Page | None:
        stored = self._found(key)
        if stored is None:
            return None
        if after is None and stored.reset:
            begin = stored.index(stored.reset) - 1
        else:
            begin = stored.index(after) if after else 0
        return Page(stored.entries[begin : begin + limit], self._state(stored))

    def _state(self, stored: _Stored) -> LogState:
        lease = stored.until - self._clock()
        return LogState(stored.last, stored.ended, stored.stopped, lease, stored.created, stored.reset)

    async def tail(self, after: Mapping[str, Position], seconds: float) -> Mapping[str, Sequence[Entry] | SourceError]:
        found = self._behind(after)
        if not found:
            with anyio.move_on_after(seconds):
                await self._news.wait()
            found = self._behind(after)
        return found

    def _behind(self, after: Mapping[str, Position]) -> dict[str, Sequence[Entry] | SourceError]:
        logs = {key: stored for key in after if (stored := self._found(key))}
        return {
            key: stored.entries[stored.index(after[key]) :] for key, stored in logs.items() if stored.last > after[key]
        }

    def wake(self) -> None:
        self._notify()

    def _notify(self) -> None:
        news, self._news = self._news, anyio.Event()
        news.set()

    async def states(self, keys: Sequence[str]) -> Sequence[LogState | SourceError | None]:
        return [self._state(stored) if (stored := self._found(key)) else None for key in keys]

    async def stop(self, key: str) -> bool:
        stored = self._found(key)
        if stored is None or stored.ended:
            return False
        stored.stopped = True
        return True

    async def expired(self, limit: int) -> Sequence[str]:
        now = self._clock()
        found = [
            key for key in list(self._logs) if (stored := self._found(key)) and not stored.ended and stored.until <= now
        ]
        return found[:limit]

    async def bind(self, name: str, key: str, keep: float) -> None:
        self._names[name] = key, self._clock() + keep

    async def bound(self, name: str) -> str | None:
        key, expires = self._names.get(name, ("", 0.0))
        return key if expires > self._clock() else None
