"""The store of logs: what `streamkit.relay` asks of it, as commands and scripts of Redis."""

import re
import time
from collections.abc import AsyncGenerator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, cast

import anyio
import msgspec
from redis.asyncio import BlockingConnectionPool, ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import NoScriptError, RedisError, ResponseError

from streamkit.errors import LogLost, LogUnreachable, SourceError
from streamkit.relay import Append, Appended, Claim, Claimed, Entry, LogState, PackedEntries, Page, Position, Restore
from streamkit_redis.scripts import ALL, APPEND, CLAIM, EXPIRED, INDEX, READ, RELEASE, RESTORE, STATE, STOP, Script

Command = tuple[Any, ...]
_ID = re.compile(rb"[0-9]{1,20}-[0-9]{1,20}")
PACK = 100
"""How many of the latest entries of a log are never packed, and how many older ones at most are packed into one."""
PRUNE = 100
"""How many logs are known until those that are not in use any more are forgotten."""
POSTPONED = 60.0
"""Seconds until a log that could not be read has another look of the processes that take over."""


class RedisLog:
    """Logs on Redis 6.2 or later, or a server that speaks as it does: a stream and a hash for each, one index of all active.

    `url` is that of redis-py (`redis://`, `rediss://`, `unix://`). A `pool` of your own, a Sentinel's for example, takes its
    place; it needs `socket_timeout=None`. `prefix` begins all keys. `timeout` is how long one call may take, in seconds, until it
    raises `LogUnreachable`. It is for asyncio. Close it, or use it with `async with`, around the `Relay`.
    """

    def __init__(
        self,
        url: str = "redis://localhost:6379/0",
        *,
        pool: ConnectionPool | None = None,
        prefix: str = "streamkit",
        timeout: float = 5.0,
        connections: int = 20,
    ) -> None:
        # With a `socket_timeout` redis-py reads and writes inside of `asyncio.wait_for`, which on Python 3.11 may swallow a
        # cancellation, and blocking reads that are longer fail. The default pool raises if it has no connection left.
        kind: Any = BlockingConnectionPool
        made: Any = pool or kind.from_url(
            url,
            max_connections=connections,
            timeout=timeout,
            socket_timeout=None,
            socket_connect_timeout=timeout,
            retry=Retry(ExponentialBackoff(cap=0.1, base=0.01), 2),
        )
        self._pool = made
        client: Any = Redis(connection_pool=made)
        client.set_response_callback("XREAD", _as_it_is)
        self._client, self._own = client, pool is None
        self._prefix = prefix
        self._timeout = timeout
        self._active = f"{{{prefix}}}:active"
        self._indexed: dict[str, float] = {}  # until when the place of a log in the index need not be renewed
        self._prune_at = PRUNE
        self._tails: list[_Tail] = []
        self._woken = anyio.Event()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._prefix}>"  # a URL may hold a password

    # Commands

    def _keys(self, key: str) -> tuple[str, str, str]:
        # The same hash tag, so that all are on one node of a cluster.
        tag = f"{{{self._prefix}:{key}}}"
        return f"{tag}:log", f"{tag}:meta", f"{tag}:packed"

    def _eval(self, script: Script, key: str, *arguments: Any) -> Command:
        return ("EVALSHA", script.sha, 3, *self._keys(key), *arguments)

    def _index(self, key: str, lease: float | None) -> Command:
        return ("EVALSHA", INDEX.sha, 1, self._active, key, "" if lease is None else _milliseconds(lease))

    async def _execute(self, commands: Sequence[Command], key: str | None = None) -> list[Any]:
        """Send the commands in one round trip, and return their replies. A server that does not know a script receives it.

        `key` is that of the log that they are about.
        """
        replies = await self._try(commands)
        for error in filter(_is_error, replies):
            raise _refused(error) if key is None else await self._failure(key, error)
        return replies

    async def _failure(self, key: str, error: Exception) -> SourceError:
        """The error of this log, for which the server has refused a command."""
        if "WRONGTYPE" not in str(error):
            return _refused(error)
        kinds = await self._try([("TYPE", name) for name in self._keys(key)])
        for expected, found in zip((b"stream", b"hash", b"stream"), kinds, strict=True):
            if isinstance(found, bytes) and found not in (expected, b"none"):
                return _replaced(f"expected a {expected.decode()} of Redis, found a {found.decode()}")
        return _refused(error)  # it is gone

    async def _try(self, commands: Sequence[Command]) -> list[Any]:
        """The same, with the error of each command that was refused as its reply."""
        async with self._reaching():
            replies = await self._send(commands)
            unknown = [number for number, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
            if unknown:
                await self._send([("SCRIPT", "LOAD", script.text) for script in ALL])
                for number, reply in zip(unknown, await self._send([commands[at] for at in unknown]), strict=True):
                    replies[number] = reply
        return replies

    async def _send(self, commands: Sequence[Command]) -> list[Any]:
        async with self._client.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)
            return cast("list[Any]", await pipeline.execute(raise_on_error=False))

    @asynccontextmanager
    async def _reaching(self, more: float = 0.0) -> AsyncGenerator[None, None]:
        try:
            with anyio.fail_after(self._timeout + more):
                yield
        except Exception as error:
            # A task group inside the block wraps the error.
            failed: Exception = (
                cast("ExceptionGroup[Exception]", error).exceptions[0] if isinstance(error, ExceptionGroup) else error
            )
            if isinstance(failed, ResponseError):
                raise _refused(failed) from None
            if isinstance(failed, RedisError | OSError):  # TimeoutError is an OSError
                raise LogUnreachable(f"Redis does not answer: {type(failed).__name__}") from failed
            raise

    # Producers

    async def claim(self, key: str, claim: Claim) -> Claimed:
        arguments = (
            claim.owner,
            _milliseconds(claim.lease),
            _milliseconds(claim.keep),
            int(claim.new),
            claim.request,
            claim.takeover,
            int(claim.checkpoints),
            claim.instead_of,
        )
        # The index first: a process that dies between the two would else leave a stream that nobody finds.
        commands = [self._index(key, claim.lease), self._eval(CLAIM, key, *arguments)]
        _, (result, *fields) = await self._execute(commands, key)
        if result != b"claimed":
            return Claimed(result=result.decode())
        epoch, predecessor, claims, stopped, created, request, takeover, checkpoints, checkpoint, cursor = fields
        self._note(key, claim.lease)
        return Claimed(
            result="claimed",
            position=Position(int(epoch), 0),
            predecessor=_position(predecessor) if predecessor else None,
            claims=int(claims),
            stopped=bool(stopped),
            created=int(created) / 1000,
            request=request,
            takeover="reset" if takeover == b"reset" else "truncate",
            checkpoints=checkpoints == b"1",
            checkpoint=checkpoint,
            cursor=cursor,
        )

    def _note(self, key: str, lease: float) -> None:
        now = time.monotonic()
        self._indexed[key] = now + lease / 3
        if len(self._indexed) >= self._prune_at:
            # Those of streams that have ended otherwise than by an append.
            self._indexed = {key: until for key, until in self._indexed.items() if until > now}
            self._prune_at = PRUNE + 2 * len(self._indexed)

    async def append(self, appends: Sequence[Append]) -> Sequence[Appended]:
        if not appends:
            return []
        commands = [self._append(append) for append in appends]
        now = time.monotonic()
        for append in appends:
            if not append.ends and now > self._indexed.get(append.key, 0.0):
                self._note(append.key, append.lease)
                commands.append(self._index(append.key, append.lease))
        found = await self._try(commands)
        found, indexed = found[: len(appends)], found[len(appends) :]
        failures = {
            number: await self._failure(appends[number].key, reply)
            for number, reply in enumerate(found)
            if isinstance(reply, Exception)
        }
        # What all have in common, such as a full memory, may pass; else one log's trouble is its own.
        common = failures.values() if _common(failures.values(), len(found)) else ()
        for error in (*common, *map(_refused, filter(_is_error, indexed))):
            raise error
        replies = [_appended(reply, failures.get(number)) for number, reply in enumerate(found)]
        pairs = list(zip(appends, replies, strict=True))
        ended = [append.key for append, reply in pairs if append.ends and reply.result == "appended"]
        if ended:
            await self._execute([self._index(key, None) for key in ended])
        for append, reply in pairs:
            if append.ends or reply.result != "appended":
                self._indexed.pop(append.key, None)
        return replies

    def _append(self, append: Append) -> Command:
        return self._eval(
            APPEND,
            append.key,
            append.owner,
            append.after.epoch,
            append.after.sequence,
            _milliseconds(append.lease),
            _milliseconds(append.keep),
            int(append.ends),
            _flags(append.resets, len(append.batches)),
            append.checkpoint,
            append.cursor,
            PACK,
            *append.batches,
        )

    async def restore(self, restore: Restore) -> bool:
        claim, claimed = restore.claim, restore.claimed
        command = self._eval(
            RESTORE,
            restore.key,
            claim.owner,
            claimed.position.epoch,
            str(claimed.predecessor or ""),
            _milliseconds(claim.lease),
            _milliseconds(claim.keep),
            claimed.request,
            claimed.takeover,
            int(claimed.checkpoints),
            int(claimed.created * 1000),
            claimed.claims,
            _flags(restore.resets, len(restore.batches)),
            PACK,
            *restore.batches,
        )
        _, restored = await self._execute([self._index(restore.key, claim.lease), command], restore.key)
        return bool(restored)

    async def release(self, key: str, owner: str) -> None:
        (released,) = await self._execute([self._eval(RELEASE, key, owner)], key)
        if released:
            await self._execute([self._index(key, 0.0)])
        self._indexed.pop(key, None)

    async def stop(self, key: str) -> bool:
        return bool((await self._execute([self._eval(STOP, key)], key))[0])

    async def expired(self, limit: int) -> Sequence[str]:
        (found,) = await self._execute([("EVALSHA", EXPIRED.sha, 1, self._active, limit)])
        keys = [key.decode() for key in found]
        states = dict(zip(keys, await self.states(keys), strict=True))
        # The index says where to look; the log says what is so.
        if corrections := [self._index(key, _due(state)) for key, state in states.items() if not _abandoned(state)]:
            await self._execute(corrections)
        return [key for key, state in states.items() if _abandoned(state)]

    # Viewers

    async def states(self, keys: Sequence[str]) -> Sequence[LogState | SourceError | None]:
        if not keys:
            return []
        replies = await self._try([self._eval(STATE, key) for key in keys])
        return [
            await self._failure(key, reply) if isinstance(reply, Exception) else _state(reply)
            for key, reply in zip(keys, replies, strict=True)
        ]

    async def read(self, key: str, after: Position | None, limit: int = 1000) -> Page | None:
        # One script, so that no entry is packed between two commands.
        most = max(1, limit // PACK)
        (reply,) = await self._execute([self._eval(READ, key, str(after or ""), limit, most)], key)
        if reply is None:
            return None
        state = _state(reply[0])
        if isinstance(state, Exception):
            raise state
        assert state is not None
        entries = [_any_entry(*entry) for entry in reply[1]]
        behind = after or (state.reset.next(-1) if state.reset else None)
        if behind and entries and isinstance(entries[0], PackedEntries):
            entries[0] = entries[0].behind(behind)
        return Page(entries, state)

    async def tail(self, after: Mapping[str, Position], seconds: float) -> Mapping[str, Sequence[Entry] | SourceError]:
        names = {self._keys(key)[0].encode(): key for key in after}
        block = max(1, _milliseconds(seconds))
        command = ("XREAD", "BLOCK", block, "STREAMS", *names, *(str(after[key]) for key in names.values()))
        reply = await self._wait(command, seconds)
        if isinstance(reply, Exception):
            return await self._unreadable(after, reply)
        return {names[name]: [_entry(*entry) for entry in entries] for name, entries in _streams(reply)}

    async def _wait(self, command: Command, seconds: float) -> Any:
        """The reply to a command that blocks, or the error with which the server has refused it."""
        reply: Any = None
        async with self._reaching(seconds), anyio.create_task_group() as group:
            tail = self._tails.pop() if self._tails else await self._new_tail()
            group.start_soon(self._unblock, tail.id)
            try:
                await tail.connection.send_command(*command)
                reply = await tail.connection.read_response()
            except ResponseError as error:
                reply = error
            except BaseException:
                # What it would still receive is the reply to this command.
                await tail.connection.disconnect(nowait=True)
                raise
            finally:
                group.cancel_scope.cancel()
            self._tails.append(tail)
        return reply

    async def _unreadable(self, after: Mapping[str, Position], error: Exception) -> dict[str, SourceError]:
        """The logs for which the server refuses one read of all."""
        names = {key: self._keys(key)[0] for key in after}
        replies = await self._try(
            [("XREAD", "COUNT", 1, "STREAMS", name, str(after[key])) for key, name in names.items()]
        )
        failures = {
            key: await self._failure(key, reply)
            for key, reply in zip(names, replies, strict=True)
            if isinstance(reply, Exception)
        }
        # As in `append`.
        if not failures or _common(failures.values(), len(names)):
            raise _refused(error)
        return failures

    async def _new_tail(self) -> "_Tail":
        # A connection of its own, since a read that waits blocks it.
        connection = self._pool.make_connection()
        await connection.connect()
        await connection.send_command("CLIENT", "ID")
        return _Tail(connection, int(await connection.read_response()))

    async def _unblock(self, id: int) -> None:
        await self._woken.wait()
        self._woken = anyio.Event()
        while not await self._client.execute_command("CLIENT", "UNBLOCK", id):  # noqa: ASYNC110
            await anyio.sleep(0.001)  # it does not wait yet

    def wake(self) -> None:
        self._woken.set()

    # Names

    async def bind(self, name: str, key: str, keep: float) -> None:
        await self._execute([("SET", f"{self._prefix}:name:{name}", key, "PX", _milliseconds(keep))])

    async def bound(self, name: str) -> str | None:
        (key,) = await self._execute([("GET", f"{self._prefix}:name:{name}")])
        return key.decode() if key is not None else None

    async def aclose(self) -> None:
        """Close all connections; those of a `pool` stay open."""
        tails, self._tails = self._tails, []
        for tail in tails:
            await tail.connection.disconnect()
        if self._own:
            await self._pool.disconnect()

    async def __aenter__(self) -> "RedisLog":
        return self

    async def __aexit__(self, *_: object) -> None:
        with anyio.move_on_after(self._timeout, shield=True):
            await self.aclose()


class _Tail(NamedTuple):
    connection: Any
    id: int


def _as_it_is(reply: Any, **_: Any) -> Any:
    return reply


def _is_error(reply: Any) -> bool:
    return isinstance(reply, Exception)


def _refused(error: Exception) -> LogUnreachable:
    # The first word is Redis's code, such as OOM or READONLY; the rest may quote a key.
    code = str(error).partition(" ")[0]
    return LogUnreachable(f"Redis refused a command: {code if code.isupper() else type(error).__name__}")


def _milliseconds(seconds: float) -> int:
    return max(0, round(seconds * 1000))


def _flags(numbers: Iterable[int], count: int) -> str:
    found = set(numbers)
    return "".join("1" if number in found else "0" for number in range(count)) if found else ""


def _position(text: bytes) -> Position:
    epoch, _, sequence = text.partition(b"-")
    return Position(int(epoch), int(sequence))


def _replaced(found: str) -> LogLost:
    return LogLost(f"something else is stored under the key of this stream: {found}", cause="replaced")


def _common(failures: Collection[SourceError], count: int) -> bool:
    """Whether the server refuses the same to all of so many logs."""
    return len(failures) == count and not any(isinstance(failure, LogLost) for failure in failures)


def _abandoned(state: LogState | SourceError | None) -> bool:
    return isinstance(state, LogState) and not state.ended and not state.live


def _due(state: LogState | SourceError | None) -> float | None:
    """When the index should name a log that nobody can take over now; never, if that is for good."""
    match state:
        case LogState(ended=False):
            return state.lease
        case LogUnreachable():
            return POSTPONED
        case _:
            return None


def _appended(reply: list[bytes] | Exception, failure: SourceError | None) -> Appended:
    if isinstance(reply, Exception):
        return Appended("refused", failure=failure if isinstance(failure, LogLost) else None)
    result, *more = reply
    last = _position(more[1]) if len(more) > 1 else None
    return Appended(cast("Any", result.decode()), bool(more and more[0]), last)


def _state(reply: list[bytes] | None) -> LogState | LogLost | None:
    if reply is None:
        return None
    epoch, sequence, ended, stopped, until, created, reset, now = reply
    try:
        return LogState(
            Position(int(epoch), int(sequence)),
            bool(ended),
            bool(stopped),
            (int(until) - int(now)) / 1000,
            int(created) / 1000,
            _position(reset) if reset else None,
        )
    except ValueError:
        return _replaced("expected the state of a log, found a hash with other fields")


def _streams(reply: Any) -> Iterable[tuple[bytes, list[Any]]]:
    # A map in version 3 of the protocol, pairs in version 2.
    if not reply:
        return ()
    return cast("dict[bytes, list[Any]]", reply).items() if isinstance(reply, dict) else reply


def _any_entry(id: bytes, fields: list[bytes]) -> Entry | PackedEntries:
    match fields:
        case [b"l", lengths, b"p", data]:
            return _packed(_position(id), lengths, data)
        case _:
            return _entry(id, fields)


def _entry(id: bytes, fields: list[bytes]) -> Entry:
    match fields:
        case [b"e", data]:
            return Entry(_position(id), data)
        case [b"c", b""]:
            return Entry(_position(id), None, None)
        case [b"c", predecessor] if _ID.fullmatch(predecessor):
            return Entry(_position(id), None, _position(predecessor))
        case _:
            return Entry(_position(id), b"")  # of another program: no batch, as a damaged one


def _packed(last: Position, lengths: bytes, data: bytes) -> Entry | PackedEntries:
    try:
        found = msgspec.json.decode(b"[%b]" % lengths, type=list[int])
    except msgspec.MsgspecError:
        found = []
    if not found or min(found) < 0 or sum(found) + len(found) - 1 != len(data) or len(found) > last.sequence:
        return Entry(last, b"")
    return PackedEntries(last.next(1 - len(found)), data, found)
