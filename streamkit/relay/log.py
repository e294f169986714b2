"""The interface of a store of logs: what `Relay` needs of memory, Redis, or another engine.

A log holds one stream: entries in the order of their positions, and a state. Every claim begins a new epoch, whose first entry,
sequence number 0, names the entry before it; batches of events follow as 1, 2, 3 without a gap. Only the owner of the latest
epoch can append (the epoch is a fencing token). No two claims of a store have the same epoch, so that the position of an entry
is never one of another log, or of a log in the place of one that was lost. A lease says until when the owner is believed to be
alive; it decides when another process may claim, and never whether an append is right.

`streamkit.testing.check_log` tests a store.
"""

import re
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Literal, NamedTuple, Protocol, Self, TypeAlias, runtime_checkable

import msgspec

from streamkit.errors import SourceError

Takeover: TypeAlias = Literal["truncate", "reset"]
"""How a stream ends or continues whose producer has died and whose provider can't continue."""
_POSITION = re.compile(r"([0-9]{1,16})-([0-9]{1,16})(?:-([0-9]{1,9}))?", re.ASCII)


class Position(NamedTuple):
    """The place of an entry. Positions of one log grow, also across epochs and after a log was lost."""

    epoch: int
    sequence: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.sequence}"

    def next(self, count: int = 1) -> "Position":
        """The position of a later batch of the same epoch."""
        return Position(self.epoch, self.sequence + count)


class EventId(NamedTuple):
    """The id of one event or frame: `<epoch>-<sequence>-<n>`, the `n`th of the batch there, from 1; 0 is before the first."""

    position: Position
    number: int

    def __str__(self) -> str:
        return str(self.position) if self.whole else f"{self.position}-{self.number}"

    @classmethod
    def parse(cls, text: str) -> "Self | None":
        """The id that a client sent; `None` for a text that is none. An id without `n` is behind all of its batch."""
        found = _POSITION.fullmatch(text)
        if found is None:
            return None
        return cls(Position(int(found[1]), int(found[2])), int(found[3]) if found[3] else _WHOLE)

    @property
    def whole(self) -> bool:
        """Whether this is behind all of its batch, however many events that has."""
        return self.number == _WHOLE


_WHOLE = 10**9


class Entry(msgspec.Struct, frozen=True, gc=False):
    """An entry at a `position`. `data` is a JSON array of events.

    That of a claim has none, and its `predecessor` is the entry before it, if there is one.
    """

    position: Position
    """Where it is."""
    data: bytes | None = None
    predecessor: Position | None = None


class PackedEntries(msgspec.Struct, frozen=True, gc=False):
    """Entries of one epoch that follow each other, none of them a claim's, in one: what a store may make of old ones."""

    position: Position
    """Where the first is."""
    data: bytes
    """That of all, joined by commas."""
    lengths: Sequence[int]
    """The number of bytes of each."""

    @property
    def last(self) -> Position:
        """Where the last is."""
        return self.position.next(len(self.lengths) - 1)

    def split(self) -> "list[Entry]":
        """Each as it was."""
        begins = accumulate((length + 1 for length in self.lengths), initial=0)
        return [
            Entry(self.position.next(number), self.data[begin : begin + length])
            for number, (begin, length) in enumerate(zip(begins, self.lengths, strict=False))
        ]

    def behind(self, position: Position) -> "PackedEntries":
        """Without those up to a position, which is before the last."""
        count = max(0, position.sequence - self.position.sequence + 1) if position.epoch == self.position.epoch else 0
        begin = sum(self.lengths[:count]) + count
        return PackedEntries(self.position.next(count), self.data[begin:], self.lengths[count:]) if count else self


def unpacked(entries: "Sequence[Entry | PackedEntries]") -> list[Entry]:
    """Each of these as an entry of its own."""
    return [one for entry in entries for one in (entry.split() if isinstance(entry, PackedEntries) else (entry,))]


class LogState(msgspec.Struct, frozen=True):
    """The state of a log: the position of its `last` entry, whether it has `ended`, and whether somebody has `stopped` it.

    `lease` is the number of seconds for which the owner is still believed to be alive; negative since it is not. `reset` is
    the position of the latest batch that begins with a `Reset`. `created` is in seconds since 1970.
    """

    last: Position
    """The position of the last entry."""
    ended: bool = False
    """Whether its end was appended."""
    stopped: bool = False
    """Whether somebody has called `stop`."""
    lease: float = 0.0
    created: float = 0.0
    reset: Position | None = None

    @property
    def live(self) -> bool:
        """Whether a producer works on it."""
        return not self.ended and self.lease > 0


class Page(msgspec.Struct, frozen=True):
    """The `entries` behind a position, and the `state` of the log."""

    entries: Sequence[Entry | PackedEntries]
    """In their order."""
    state: LogState
    """As it was when they were read."""


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A request to be the producer. `owner` is unique for each claim, so that one that is repeated has the same result.

    A `new` stream requires that the log does not exist; any other that it exists, has not ended, and that its lease is over or
    `instead_of`'s. `lease` and `keep` are in seconds; `keep` is how long a log may be without an append. `request`, `takeover`
    and `checkpoints` are stored with a new stream.
    """

    owner: str
    lease: float
    keep: float
    new: bool = True
    request: bytes = b""
    takeover: Takeover = "truncate"
    checkpoints: bool = False
    """Whether appends store checkpoints."""
    instead_of: str = ""


class Claimed(msgspec.Struct, frozen=True, kw_only=True):
    """`result` is `claimed`, or why it was not: the log `exists` or has `ended`, is `held` by another, or is `unknown`.

    What follows is that of a claimed log: `position` is that of the claim's own entry and `predecessor` that of the entry before,
    `claims` how many there were, `stopped` and `created` those of its state, `request`, `takeover` and `checkpoints` what was
    stored with the first claim, `checkpoint` and `cursor` what the previous owner stored last.
    """

    result: Literal["claimed", "exists", "ended", "held", "unknown"]
    position: Position = Position(0, 0)
    predecessor: Position | None = None
    """The last entry before the claim."""
    claims: int = 1
    stopped: bool = False
    """Whether somebody has called `stop`."""
    created: float = 0.0
    """When, in seconds since 1970."""
    request: bytes = b""
    """The request that was passed to `publish`."""
    takeover: Takeover = "truncate"
    """The action when the producer dies."""
    checkpoints: bool = False
    """Whether appends store checkpoints."""
    checkpoint: bytes = b""
    cursor: bytes = b""


class Append(msgspec.Struct, frozen=True, kw_only=True):
    """The `batches` of `owner` behind `after` in the log `key`, all or none of them. Without batches it only renews the `lease`.

    `resets` are the numbers of batches that begin with a `Reset`. With `ends` the log has ended: checkpoint, cursor and
    request are deleted, and the log itself after `keep` seconds. A `checkpoint` is
    stored with the source's `cursor`; an empty one leaves both as they are.
    """

    key: str
    """The stream's."""
    owner: str
    """Who appends; another's append is `fenced`."""
    after: Position
    """The position of the last entry that the owner knows."""
    batches: Sequence[bytes]
    """Each a JSON array of events, and an entry of its own."""
    lease: float
    """Seconds for which the owner is believed to be alive from now on."""
    keep: float
    """Seconds for which the log is kept without an append."""
    resets: Sequence[int] = ()
    ends: bool = False
    checkpoint: bytes = b""
    cursor: bytes = b""
    """The source's own position in the provider's stream."""


class Appended(msgspec.Struct, frozen=True):
    """`result`:

    - `appended`, also if an earlier attempt whose reply was lost had appended the same batches;
    - `fenced`: another owner has claimed the log, or it has ended;
    - `behind`: the store has lost what it had acknowledged; `last` is what is left, of this epoch or of an earlier one;
    - `lost`: there is no such log;
    - `refused`: the store answers, but can't append to this log; the others of the call are not affected. A `failure` says that
      it never will, and why.

    `stopped`: somebody has called `stop`.
    """

    result: Literal["appended", "fenced", "behind", "lost", "refused"]
    stopped: bool = False
    last: Position | None = None
    failure: SourceError | None = None


class Restore(msgspec.Struct, frozen=True, kw_only=True):
    """All of an epoch of the log `key` again, for a store that has lost it from its claim on: `claim` and what it `claimed`,
    and the `batches` behind it, of which `resets` begin with a `Reset`.

    It requires that the log is what it was before that claim: absent, or with `predecessor` as its last entry.
    """

    key: str
    """The stream's."""
    claim: Claim
    """The claim that was lost."""
    claimed: Claimed
    """The result of that claim."""
    batches: Sequence[bytes]
    """All that was appended since, in order."""
    resets: Sequence[int] = ()
    """The numbers of batches that begin with a `Reset`."""


@runtime_checkable
class Log(Protocol):
    """A store of logs by their keys. One that can't be reached raises `LogUnreachable`; every call may then be repeated.

    What concerns the log of one key alone, such as something else stored under it, is raised by the calls for one key, and is
    that key's result in the calls for several: `LogLost` with the cause `replaced`, or `LogUnreachable` for what may pass. An
    entry that is damaged is an `Entry` whose `data` can't be decoded.
    """

    async def claim(self, key: str, claim: Claim) -> Claimed:
        """Begin a new epoch, atomically: owner, lease, and the claim's entry."""
        ...

    async def append(self, appends: Sequence[Append]) -> Sequence[Appended]:
        """Append to several logs, each atomically: check owner and last entry, then store batches, checkpoint and lease.

        What concerns one of them is its result, so that the others have theirs.
        """
        ...

    async def restore(self, restore: Restore) -> bool:
        """Store an epoch again that was lost; False if the log is not what it was before."""
        ...

    async def release(self, key: str, owner: str) -> None:
        """End the lease of this owner, so that another process may claim at once."""
        ...

    async def read(self, key: str, after: Position | None, limit: int = 1000) -> Page | None:
        """At most `limit` entries behind a position, or from the latest `Reset` or the beginning. `None`: no such log.

        With packed entries they may be more, up to the number that one has.
        """
        ...

    async def tail(self, after: Mapping[str, Position], seconds: float) -> Mapping[str, Sequence[Entry] | SourceError]:
        """Wait for entries behind these positions, at most for so many seconds or until `wake`.

        Of those that are packed by now none is in the result: who needs them finds a gap, and reads the log. The result of a log
        that can't be read is its error. Those of the others may then wait for the next call.
        """
        ...

    def wake(self) -> None:
        """Make a `tail` that waits return."""
        ...

    async def states(self, keys: Sequence[str]) -> Sequence[LogState | SourceError | None]:
        """The states of several logs; `None` for one that does not exist, its error for one that can't be read."""
        ...

    async def stop(self, key: str) -> bool:
        """Set the stop flag, which appends and later claims return. False if there is no such log, or it has ended."""
        ...

    async def expired(self, limit: int) -> Sequence[str]:
        """Keys of logs that have not ended and whose lease is over, of those that can be read."""
        ...

    async def bind(self, name: str, key: str, keep: float) -> None:
        """Store which stream is the current one of a name, for `keep` seconds."""
        ...

    async def bound(self, name: str) -> str | None:
        """The key that was bound to a name."""
        ...
