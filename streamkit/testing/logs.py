"""Checks of a log store for `streamkit.relay`: the contract that `Relay` requires.

    @pytest.mark.parametrize("check", LOG_CHECKS.values(), ids=LOG_CHECKS.keys())
    async def test_my_store_keeps_the_contract(check) -> None:
        await check(MyLog(...))

Each check uses its own keys, so all of them can run on one store.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeAlias
from uuid import uuid4

import anyio
import msgspec

from streamkit.relay.log import Append, Appended, Claim, Claimed, Log, LogState, Position, Restore, unpacked

LogCheck: TypeAlias = Callable[[Log], Awaitable[None]]
LONG = 60.0
SHORT = 0.02
PATIENCE = 5.0


def _claim(owner: str, *, new: bool = True, lease: float = LONG, **fields: Any) -> Claim:
    return Claim(owner=owner, lease=lease, keep=LONG, new=new, **fields)


def _key() -> str:
    return f"check:{uuid4().hex}"


async def _append(log: Log, key: str, owner: str, after: Position, *batches: bytes, **fields: Any) -> Appended:
    append = Append(key=key, owner=owner, after=after, batches=batches, lease=LONG, keep=LONG)
    append = msgspec.structs.replace(append, **fields)
    return (await log.append([append]))[0]


async def _claimed(log: Log, key: str, owner: str = "a", **fields: Any) -> Claimed:
    claimed = await log.claim(key, _claim(owner, **fields))
    assert claimed.result == "claimed", claimed.result
    return claimed


async def _entries(
    log: Log, key: str, after: Position | None = None, limit: int = 1000
) -> list[tuple[Position, bytes | None]]:
    page = await log.read(key, after, limit)
    assert page is not None
    return [(entry.position, entry.data) for entry in unpacked(page.entries)]


async def _all_entries(log: Log, key: str, after: Position | None) -> list[tuple[Position, bytes | None]]:
    """Read in pages, each behind the last entry of the one before."""
    found: list[tuple[Position, bytes | None]] = []
    while entries := await _entries(log, key, after, limit=70):
        found += entries
        after = entries[-1][0]
    return found


async def _until_claimed(log: Log, key: str, claim: Claim) -> Claimed:
    with anyio.fail_after(PATIENCE):
        while (claimed := await log.claim(key, claim)).result == "held":  # noqa: ASYNC110
            await anyio.sleep(SHORT / 2)
    assert claimed.result == "claimed", claimed.result
    return claimed


async def new_and_unknown(log: Log) -> None:
    """A new log starts with its claim. For an unknown log, the calls return `None`, `unknown`, `lost` and False."""
    key = _key()
    assert await log.read(key, None) is None
    assert await log.states([key]) == [None]
    assert (await log.claim(key, _claim("a", new=False))).result == "unknown"
    assert (await _append(log, key, "a", Position(1, 0), b"[1]")).result == "lost"
    assert not await log.stop(key)

    claimed = await _claimed(log, key, request=b'{"a":1}', takeover="reset", checkpoints=True)
    assert claimed.position.sequence == 0
    assert (claimed.predecessor, claimed.claims, claimed.stopped) == (None, 1, False)
    assert (claimed.request, claimed.takeover, claimed.checkpoints) == (b'{"a":1}', "reset", True)
    page = await log.read(key, None)
    assert page is not None
    assert [(entry.position, entry.data, entry.predecessor) for entry in unpacked(page.entries)] == [
        (claimed.position, None, None)
    ]
    assert page.state.last == claimed.position
    assert page.state.live
    assert page.state.created > 1.5e9


async def keys_are_used_once(log: Log) -> None:
    """A second new claim is rejected, both while the log is active and after it has ended."""
    key = _key()
    claimed = await _claimed(log, key)
    assert (await log.claim(key, _claim("b"))).result == "exists"
    assert (await log.claim(key, _claim("b", new=False))).result == "held"
    assert (await _append(log, key, "a", claimed.position, b"[1]", ends=True)).result == "appended"
    assert (await log.claim(key, _claim("b"))).result == "ended"
    assert (await log.claim(key, _claim("b", new=False))).result == "ended"


async def order(log: Log) -> None:
    """Batches have consecutive positions, in one append or several, and can be read after any position, in pages."""
    key = _key()
    at = (await _claimed(log, key)).position
    assert (await _append(log, key, "a", at, b"[1]", b"[2]")).result == "appended"
    assert (await _append(log, key, "a", at.next(2), b"[3]")).result == "appended"
    everything = [(at, None), (at.next(1), b"[1]"), (at.next(2), b"[2]"), (at.next(3), b"[3]")]
    assert await _entries(log, key) == everything
    assert await _entries(log, key, at.next()) == everything[2:]
    assert await _entries(log, key, at.next(3)) == []
    assert await _entries(log, key, Position(at.epoch + 1, 0)) == []
    page = await log.read(key, at, 2)
    assert page is not None
    assert [entry.data for entry in page.entries] == [b"[1]", b"[2]"]
    assert page.state.last == at.next(3)


async def many_entries(log: Log) -> None:
    """Long logs can be read after any position, in pages too, across claims and from the latest reset."""
    key = _key()
    at = (await _claimed(log, key)).position
    expected: list[tuple[Position, bytes | None]] = [(at, None)]
    for begin, size in ((0, 1), (1, 250), (251, 99), (350, 150)):
        batches = [b'["%d",[],"%b"]' % (number, b"," * (number % 7)) for number in range(begin, begin + size)]
        assert (await _append(log, key, "a", at, *batches)).result == "appended"
        expected += [(at.next(number), data) for number, data in enumerate(batches, 1)]
        at = at.next(size)
    again = await log.claim(key, _claim("b", new=False, instead_of="a"))
    at = again.position
    expected.append((at, None))
    large = [b'["%b"]' % (b"x" * (size * 997)) for size in range(60)]
    batches = [*large, *([b"[1]"] * 300)]
    assert (await _append(log, key, "b", at, *batches, ends=True)).result == "appended"
    expected += [(at.next(number), data) for number, data in enumerate(batches, 1)]
    for number in (0, 1, 2, 99, 100, 101, 250, 499, 500, 501, 502, 540, 660, len(expected) - 1):
        assert await _all_entries(log, key, expected[number][0]) == expected[number + 1 :], f"after {number}"
    assert await _all_entries(log, key, None) == expected


async def resets_of_long_logs(log: Log) -> None:
    """A long log is read from its latest reset."""
    key = _key()
    at = (await _claimed(log, key)).position
    batches = [b"[%d]" % number for number in range(450)]
    for resets, first in (([0, 3], 3), ([130], 130), ([449], 449)):
        assert (await _append(log, key, "a", at, *batches, resets=resets)).result == "appended"
        assert await _all_entries(log, key, None) == [
            (at.next(number + 1), batches[number]) for number in range(first, len(batches))
        ]
        at = at.next(len(batches))


async def repeated_calls(log: Log) -> None:
    """Repeating a claim or an append whose reply was lost returns the same result and stores nothing twice."""
    key = _key()
    claimed = await _claimed(log, key)
    assert await _claimed(log, key) == claimed
    for _ in range(2):
        assert (await _append(log, key, "a", claimed.position, b"[1]", b"[2]")).result == "appended"
    assert [data for _, data in await _entries(log, key)] == [None, b"[1]", b"[2]"]
    for _ in range(2):
        assert (await _append(log, key, "a", claimed.position.next(2), b"[3]", ends=True)).result == "appended"
    assert [data for _, data in await _entries(log, key)] == [None, b"[1]", b"[2]", b"[3]"]


async def fencing(log: Log) -> None:
    """After another claim, the previous owner can no longer append, renew, release or end."""
    key = _key()
    first = await _claimed(log, key, lease=SHORT)
    assert (await _append(log, key, "a", first.position, b"[1]", lease=SHORT)).result == "appended"
    second = await _until_claimed(log, key, _claim("b", new=False))
    assert second.position > first.position.next()
    assert (second.predecessor, second.claims) == (first.position.next(), 2)
    for batches, ends in (((b"[x]",), False), ((b"[x]",), True), ((), False)):
        assert (await _append(log, key, "a", first.position.next(), *batches, ends=ends)).result == "fenced"
    assert (await _append(log, key, "a", second.position, b"[x]")).result == "fenced"
    await log.release(key, "a")
    assert (await log.claim(key, _claim("c", new=False))).result == "held"
    assert (await _append(log, key, "b", second.position, b"[2]")).result == "appended"
    assert [data for _, data in await _entries(log, key)] == [None, b"[1]", None, b"[2]"]


async def leases(log: Log) -> None:
    """Appends without batches renew the lease, `release` ends it, and `expired` lists a log whose lease is over."""
    key = _key()
    claimed = await _claimed(log, key, lease=SHORT)
    assert (await _append(log, key, "a", claimed.position)).result == "appended"
    (state,) = await log.states([key])
    assert isinstance(state, LogState)
    assert LONG / 2 < state.lease <= LONG
    assert key not in await log.expired(1000)
    await log.release(key, "a")
    (state,) = await log.states([key])
    assert isinstance(state, LogState)
    assert not state.live
    assert key in await log.expired(1000)
    again = await _claimed(log, key, "b", new=False)
    assert key not in await log.expired(1000)
    assert (await _append(log, key, "b", again.position, b"[1]", ends=True)).result == "appended"
    await log.release(key, "b")
    assert key not in await log.expired(1000)


async def instead_of(log: Log) -> None:
    """With `instead_of`, a claim may replace a running lease only if it names the current owner."""
    key = _key()
    first = await _claimed(log, key)
    assert (await log.claim(key, _claim("b", new=False, instead_of="x"))).result == "held"
    again = await _claimed(log, key, "b", new=False, instead_of="a")
    assert again.predecessor == first.position


async def stop_flag(log: Log) -> None:
    """Appends and later claims return the stop flag, until the log has ended."""
    key = _key()
    claimed = await _claimed(log, key)
    assert not (await _append(log, key, "a", claimed.position)).stopped
    assert await log.stop(key)
    assert (await _append(log, key, "a", claimed.position)).stopped
    assert (await _append(log, key, "a", claimed.position, b"[1]")).stopped
    await log.release(key, "a")
    again = await _claimed(log, key, "b", new=False)
    assert again.stopped
    assert (await _append(log, key, "b", again.position, b"[2]", ends=True)).result == "appended"
    assert not await log.stop(key)


async def checkpoints(log: Log) -> None:
    """A checkpoint is stored with its batches, kept by appends without one, and deleted at the end of the log."""
    key = _key()
    claimed = await _claimed(log, key, request=b"1")
    at = claimed.position
    stored = await _append(log, key, "a", at, b"[1]", checkpoint=b'{"x":1}', cursor=b"7")
    assert stored.result == "appended"
    assert (await _append(log, key, "a", at.next())).result == "appended"
    assert (await _append(log, key, "a", at, b"[1]", checkpoint=b'{"x":2}', cursor=b"8")).result == "appended"
    await log.release(key, "a")
    again = await _claimed(log, key, "b", new=False)
    assert (again.request, again.checkpoint, again.cursor) == (b"1", b'{"x":1}', b"7")
    assert (await _append(log, key, "a", at.next(), b"[x]", checkpoint=b"0", cursor=b"0")).result == "fenced"
    await log.release(key, "b")
    third = await _claimed(log, key, "c", new=False)
    assert (third.checkpoint, third.cursor) == (b'{"x":1}', b"7")
    ended = await _append(
        log, key, "c", third.position, b"[2]", checkpoint=b'{"x":3}', cursor=b"9", ends=True, keep=SHORT
    )
    assert ended.result == "appended"
    for again in (await log.claim(key, _claim("c", new=False)), await log.claim(key, _claim("d", new=False))):
        assert again.result in ("ended", "unknown")  # unknown if the retention time is already over
        assert (again.request, again.checkpoint, again.cursor) == (b"", b"", b"")
    with anyio.fail_after(PATIENCE):
        while await log.read(key, None) is not None:  # noqa: ASYNC110
            await anyio.sleep(SHORT / 2)
    reused = await _claimed(log, key, "e")
    assert (reused.request, reused.checkpoint, reused.cursor) == (b"", b"", b"")


async def ends_without_batches(log: Log) -> None:
    """A log that ends without a batch has ended for its owner too: repeating the claim does not return its checkpoint."""
    key = _key()
    at = (await _claimed(log, key, request=b"1")).position
    assert (await _append(log, key, "a", at, checkpoint=b'{"x":1}', cursor=b"7", ends=True)).result == "appended"
    for new in (True, False):
        again = await log.claim(key, _claim("a", new=new))
        assert (again.result, again.request, again.checkpoint, again.cursor) == ("ended", b"", b"", b"")


async def resets(log: Log) -> None:
    """Without a position, reading starts at the latest batch that starts with a `Reset`."""
    key = _key()
    at = (await _claimed(log, key)).position
    assert (await _append(log, key, "a", at, b"[1]", b"[2]", b"[3]", resets=[1])).result == "appended"
    page = await log.read(key, None)
    assert page is not None
    assert page.state.reset == at.next(2)
    assert [entry.data for entry in page.entries] == [b"[2]", b"[3]"]
    assert [data for _, data in await _entries(log, key, at)] == [b"[1]", b"[2]", b"[3]"]


async def behind(log: Log) -> None:
    """An append after a missing entry is rejected with the position of the last existing entry."""
    key = _key()
    at = (await _claimed(log, key)).position
    assert (await _append(log, key, "a", at, b"[1]")).result == "appended"
    reply = await _append(log, key, "a", at.next(3), b"[5]")
    assert (reply.result, reply.last) == ("behind", at.next())
    reply = await _append(log, key, "a", at.next(3))
    assert (reply.result, reply.last) == ("behind", at.next())
    assert [data for _, data in await _entries(log, key)] == [None, b"[1]"]


async def restoring(log: Log) -> None:
    """A lost epoch can be restored only if the log has not changed since."""
    source, key = _key(), _key()
    claim = _claim("a", request=b"1")
    claimed = await log.claim(source, claim)
    restore = Restore(key=key, claim=claim, claimed=claimed, batches=[b"[1]", b"[2]"], resets=[1])
    assert await log.restore(restore)
    assert await log.restore(restore)  # repeated after a lost reply
    at = claimed.position
    assert await _entries(log, key, at) == [(at.next(1), b"[1]"), (at.next(2), b"[2]")]
    assert (await _append(log, key, "a", at.next(2), b"[3]")).result == "appended"
    assert not await log.restore(restore)
    later = Claimed(result="claimed", position=Position(at.epoch + 1, 0), predecessor=at.next(2))
    assert not await log.restore(Restore(key=key, claim=_claim("b"), claimed=later, batches=[b"[4]"]))
    later = Claimed(result="claimed", position=Position(at.epoch + 1, 0), predecessor=at.next(3))
    assert await log.restore(Restore(key=key, claim=_claim("b"), claimed=later, batches=[b"[4]"]))
    assert (await _append(log, key, "a", at.next(3), b"[x]")).result == "fenced"
    page = await log.read(key, at.next(2))
    assert page is not None
    assert [(entry.data, entry.predecessor) for entry in unpacked(page.entries)] == [
        (b"[3]", None),
        (None, at.next(3)),
        (b"[4]", None),
    ]


async def several_logs(log: Log) -> None:
    """One call appends to several logs independently, each with its own result."""
    keys = [_key() for _ in range(3)]
    claims = [await _claimed(log, key) for key in keys[:2]]
    positions = [*(claimed.position for claimed in claims), Position(1, 0)]
    places = [*zip(keys, positions, ["a", "a", "a"], strict=True), (keys[0], positions[0], "x")]
    appends = [
        Append(key=key, after=at, owner=owner, batches=[b"[1]"], lease=LONG, keep=LONG) for key, at, owner in places
    ]
    assert [reply.result for reply in await log.append(appends)] == ["appended", "appended", "lost", "fenced"]
    assert await log.append([]) == []
    states = await log.states(keys)
    assert [isinstance(state, LogState) and state.last for state in states] == [
        positions[0].next(),
        positions[1].next(),
        False,
    ]


async def tailing(log: Log) -> None:
    """`tail` returns the existing entries of several logs, or waits for new ones, and returns early on `wake`."""
    one, other = _key(), _key()
    first, second = (await _claimed(log, one)).position, (await _claimed(log, other)).position
    await _append(log, one, "a", first, b"[1]")
    assert _found(await log.tail({one: first, other: second}, PATIENCE)) == {one: [b"[1]"]}
    assert await log.tail({one: first.next(), other: second}, SHORT) == {}
    found: list[Any] = []

    async def tail() -> None:
        found.append(await log.tail({one: first.next(), other: second}, PATIENCE))

    with anyio.fail_after(PATIENCE / 2):
        async with anyio.create_task_group() as group:
            group.start_soon(tail)
            await anyio.sleep(SHORT)
            await _append(log, other, "a", second, b"[2]")
        async with anyio.create_task_group() as group:
            group.start_soon(tail)
            await anyio.sleep(SHORT)
            log.wake()
    assert _found(found[0]) == {other: [b"[2]"]}
    assert set(_found(found[1])) <= {other}


def _found(found: Any) -> dict[str, Sequence[bytes | None]]:
    return {key: [entry.data for entry in entries] for key, entries in found.items()}


async def any_key(log: Log) -> None:
    """A key may be any text."""
    for key in ("é ✓", "a b\nc", "{x}:y", "}", "*", "a:log", "%s"):
        key = f"{key}{uuid4().hex}"
        at = (await _claimed(log, key)).position
        assert (await _append(log, key, "a", at, b'["\xc3\xa9"]')).result == "appended"
        assert _found(await log.tail({key: at}, PATIENCE)) == {key: [b'["\xc3\xa9"]']}
        await log.release(key, "a")
        assert key in await log.expired(1000)
        await _append(log, key, "a", at.next(), b"[]", ends=True)


async def expiry(log: Log) -> None:
    """An ended log is deleted after its retention time, and its key can be used again, with greater positions."""
    key = _key()
    at = (await _claimed(log, key)).position
    assert (await _append(log, key, "a", at, b"[1]", ends=True, keep=SHORT)).result == "appended"
    with anyio.fail_after(PATIENCE):
        while await log.read(key, None) is not None:  # noqa: ASYNC110
            await anyio.sleep(SHORT / 2)
    assert (await _claimed(log, key, "b")).position > at.next()


async def epochs(log: Log) -> None:
    """No two claims have the same epoch, however close they are."""
    found: list[int] = []

    async def claim() -> None:
        found.append((await _claimed(log, _key())).position.epoch)

    async with anyio.create_task_group() as group:
        for _ in range(50):
            group.start_soon(claim)
    assert len(set(found)) == 50


async def names(log: Log) -> None:
    """A name is bound to one key at a time, for a limited time."""
    name = _key()
    assert await log.bound(name) is None
    await log.bind(name, "one", LONG)
    await log.bind(name, "ä/2", LONG)
    assert await log.bound(name) == "ä/2"
    await log.bind(name, "three", SHORT)
    with anyio.fail_after(PATIENCE):
        while await log.bound(name) is not None:  # noqa: ASYNC110
            await anyio.sleep(SHORT / 2)


LOG_CHECKS: Final[dict[str, LogCheck]] = {
    check.__name__: check
    for check in (
        new_and_unknown,
        keys_are_used_once,
        order,
        many_entries,
        repeated_calls,
        fencing,
        leases,
        instead_of,
        stop_flag,
        checkpoints,
        ends_without_batches,
        resets,
        resets_of_long_logs,
        behind,
        restoring,
        several_logs,
        tailing,
        any_key,
        expiry,
        epochs,
        names,
    )
}
"""The checks by name; each is awaited with a store."""


async def check_log(log: Log) -> None:
    """Run all checks. Raises `AssertionError` with a note that names the failed check."""
    for name, check in LOG_CHECKS.items():
        try:
            await check(log)
        except AssertionError as error:
            error.add_note(f"in {name}: {check.__doc__}")
            raise
