"""A feed behaves like a browser's EventSource, on both event loops, with scripted connections."""

from typing import Any

import anyio
import anyio.lowlevel
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import given
from hypothesis import strategies as st

import streamkit as sk
from streamkit.sources.feed import MAX_WAIT_SECONDS, Feed, Reconnect, Reconnection
from tests.sources.feeds import AT_ONCE, OVER, Network, data, network, read

pytestmark = pytest.mark.anyio

BROKEN = sk.errors.Disconnected("the connection broke")
REFUSED = sk.errors.ConnectFailed("no connection")


def busy(status: int = 503, **headers: str) -> sk.StatusError:
    return sk.StatusError(
        "busy", status=status, headers={name.replace("_", "-"): value for name, value in headers.items()}
    )


# Reading


async def test_a_feed_that_ends_is_taken_up_again_after_the_last_event_id() -> None:
    net = network([b"id: 1\ndata: one\n\n"], [b"id: 2\ndata: two\n\ndata: cut off"], [b"data: three\n\n"], OVER)
    events = await read(net.feed())
    assert [(event.data, event.id) for event in events] == [("one", "1"), ("two", "2"), ("three", "2")]
    assert net.ids == ["", "1", "2", "2"]


@pytest.mark.parametrize(
    ("first", "sent"),
    [
        (b"id: 1\ndata: x\n\nid: 2\ndata: cut off", "1"),
        (b"id: 1\ndata: x\n\nid: 2\n\n", "2"),
        (b"id: 1\n\n: alive\n", "1"),
        (b"id: 1\ndata: x\n\nid\ndata: y\n\n", ""),
        (b"id: 1\ndata: x\n\nid: \x00\ndata: y\n\n", "1"),
        ("id: ключ☃\ndata: x\n\n".encode(), "ключ☃"),
        (b"id: 1\r\ndata: x\r\n\r\n", "1"),
        (b"id: 1\rdata: x\r\r", "1"),
    ],
    ids=["unfinished", "without data", "no event", "reset", "with a NUL", "not ASCII", "CRLF", "CR"],
)
async def test_the_id_of_the_last_block_that_was_complete_is_sent(first: bytes, sent: str) -> None:
    net = network([first], OVER)
    await read(net.feed())
    assert net.ids == ["", sent]


async def test_a_feed_begins_after_the_id_that_it_is_given() -> None:
    net = network([b"data: x\n\n"], OVER)
    feed = net.feed(last_event_id="41")
    assert [(event.data, event.id) for event in await read(feed)] == [("x", "41")]
    assert (net.ids, feed.last_event_id) == (["41", "41"], "41")


@pytest.mark.parametrize(
    ("comments", "found"),
    [(False, ["one", "two"]), (True, ["#alive", "one", "# inside", "two", "#"])],
    ids=["without", "with"],
)
async def test_comments_are_given_where_they_are_asked_for(comments: bool, found: list[str]) -> None:
    net = network([b":alive\n", b"data: one\n\n", b": inside\ndata: two\n\n", b":\n"], OVER)
    events = await read(net.feed(comments=comments))
    assert [f"#{event.text}" if isinstance(event, sk.sse.Comment) else event.data for event in events] == found


async def test_a_comment_is_given_before_its_block_is_complete() -> None:
    net = network([b":alive\ndata: x\n", None])
    async with net.feed(comments=True) | sk.stage(lambda event: event) as events:
        assert await anext(events) == sk.sse.Comment("comment", text="alive")


BODY = "\ufeffretry: 7\r\nid: é\r\rdata: one\n\r: c\ndata:two\r\ndata\r\n\r\nevent: e\ndata: ☃\n\n".encode()
EVENTS = [
    sk.sse.ServerSentEvent.of("one", id="é"),
    sk.sse.Comment("comment", id="é", text=" c"),
    sk.sse.ServerSentEvent.of("two\n", id="é"),
    sk.sse.ServerSentEvent.of("☃", "e", id="é"),
]


@pytest.mark.parametrize("at", range(len(BODY) + 1))
async def test_a_body_may_be_cut_at_any_byte(at: int) -> None:
    net = network([piece for piece in (BODY[:at], BODY[at:]) if piece], OVER)
    feed = net.feed(comments=True)
    assert await read(feed) == EVENTS
    assert (net.ids, feed.reconnect_seconds) == (["", "é"], 0.007)


async def test_a_body_may_come_byte_by_byte() -> None:
    net = network([BODY[at : at + 1] for at in range(len(BODY))], OVER)
    assert await read(net.feed(comments=True)) == EVENTS


@pytest.mark.parametrize("at", range(len(BODY) + 1))
async def test_a_connection_may_break_at_any_byte(at: int) -> None:
    net = network([BODY[:at] or b"\n", BROKEN], [BODY], OVER)
    events = await read(net.feed(comments=True))
    assert events[-len(EVENTS) :] == EVENTS
    assert net.ids[1] == ("é" if b"\r\r" in BODY[:at] else "")
    assert [news.error for news in net.news] == [BROKEN, None]


async def test_what_came_before_a_fault_is_delivered_and_then_it_is_raised_and_not_tried_again() -> None:
    net = network([b"data: one\n\n", b"data: two\n\ndata: " + b"x" * (16 * 1024 * 1024 + 1)], OVER)
    seen: list[Any] = []
    with pytest.raises(sk.errors.LimitExceeded):
        await read(net.feed(), seen)
    assert [event.data for event in seen] == ["one", "two"]
    assert len(net.made) == 1


async def test_an_id_that_no_header_can_hold_is_not_left_out() -> None:
    net = network([b"id: \x01\ndata: x\n\n"], OVER)
    seen: list[Any] = []
    with pytest.raises(
        sk.errors.ProtocolError, match=r"expected an event ID that a header can hold, found one with '\\x01'"
    ):
        await read(net.feed(), seen)
    assert [event.data for event in seen] == ["x"]


# Number of connections


async def test_reconnections_are_counted_also_where_each_brings_an_event() -> None:
    net = network(*[[b"data: x\n\n"]] * 9)
    assert await data(net.feed(reconnects=2)) == ["x"] * 3
    assert [news.number for news in net.news] == [1, 2]


async def test_reconnections_are_counted_where_none_brings_an_event() -> None:
    net = network([b"data: x\n\n"], *[[]] * 9)
    assert await data(net.feed(reconnects=2)) == ["x"]
    assert len(net.made) == 3


async def test_without_reconnections_a_feed_is_read_once() -> None:
    net = network([b"data: x\n\n"])
    feed = net.feed(reconnects=0)
    assert await data(feed) == ["x"]
    assert (feed.connections, feed.reconnections) == (1, 0)


async def test_a_break_is_raised_when_the_reconnections_are_used_up() -> None:
    net = network([b"data: x\n\n", BROKEN], [b"data: y\n\n", BROKEN])
    seen: list[Any] = []
    with pytest.raises(sk.errors.Disconnected):
        await read(net.feed(reconnects=1), seen)
    assert [event.data for event in seen] == ["x", "y"]


@pytest.mark.parametrize("fruitless", [[], [b": alive\n"], [b"data: cut off"], [BROKEN], REFUSED])
async def test_attempts_bound_the_connections_in_a_row_without_an_event(fruitless: Any) -> None:
    net = network([b"data: x\n\n"], fruitless, [b"data: y\n\n"], fruitless, fruitless, fruitless)
    seen: list[Any] = []
    try:
        await read(net.feed(reconnect=Reconnect(initial=0, least=0, attempts=3)), seen)
        raised = None
    except sk.SourceError as error:
        raised = error
    assert [event.data for event in seen] == ["x", "y"]
    assert len(net.made) == 6
    assert raised is (REFUSED if fruitless is REFUSED else BROKEN if fruitless == [BROKEN] else None)


@pytest.mark.parametrize(
    "failure", [REFUSED, BROKEN, sk.errors.DeadlineExceeded("late", deadline="first_byte"), busy()]
)
@pytest.mark.parametrize("from_start", [False, True])
async def test_a_first_connection_that_fails_raises_unless_it_may(failure: Exception, from_start: bool) -> None:
    net = network(failure, [b"data: x\n\n"], OVER)
    feed = net.feed(reconnect=Reconnect(initial=0, least=0, statuses=True, from_start=from_start))
    if from_start:
        assert await data(feed) == ["x"]
        assert net.news[0].error is failure
    else:
        with pytest.raises(type(failure)):
            await read(feed)
        assert len(net.made) == 1


async def test_a_server_that_says_not_to_come_again_is_not_asked_again() -> None:
    net = network(OVER)
    assert await read(net.feed()) == []
    assert len(net.made) == 1


# Waits


@pytest.mark.parametrize(
    ("policy", "scripts", "waits"),
    [
        ({"initial": 0.001}, [[b"data: x\n\n"]] * 3, [0.001, 0.001, 0.001]),
        ({"initial": 0.001}, [[]] * 6, [0.001, 0.002, 0.004, 0.008, 0.008, 0.008]),
        ({"initial": 0.001}, [[], [], [b"data: x\n\n"], []], [0.001, 0.002, 0.001, 0.001]),
        ({"initial": 0.001, "least": 0.003}, [[b"data: x\n\n"], []], [0.003, 0.003]),
        ({"initial": 0.001}, [[b"retry: 2\n\n"], [b"data: x\n\n"]], [0.002, 0.002]),
        ({"initial": 0.001}, [[b"retry: 2\n"], [], []], [0.002, 0.004, 0.008]),
        ({"initial": 0.001, "least": 0.003}, [[b"retry: 0\ndata: x\n\n"]] * 3, [0.003, 0.003, 0.003]),
        ({"initial": 0.001}, [[b"retry: 20\ndata: x\n\n"], []], [0.02, 0.02]),
        ({"initial": 0.001}, [[b"retry: 2\nretry: x\nretry: -1\nretry: 1_0\nretry: \xd9\xa1\n\n"]], [0.002]),
        ({"initial": 0.001, "jitter": 1.0, "random": lambda: 0.5}, [[b"data: x\n\n"]], [0.0015]),
        ({"initial": 0.004, "statuses": True}, [[], busy(429, retry_after="0.001")], [0.004, 0.001]),
        ({"initial": 0.001, "statuses": True}, [[], busy(503, retry_after_ms="5")], [0.001, 0.005]),
        ({"initial": 0.001, "statuses": True}, [[], busy(500)], [0.001, 0.002]),
        ({"initial": 0.001, "least": 0.002, "statuses": True}, [[], busy(429, retry_after="0")], [0.002, 0.002]),
    ],
    ids=[
        "each with an event",
        "none with an event",
        "an event begins the count anew",
        "no less than the least",
        "the feed's own time, also without an event",
        "at once, before its block is complete, and doubled",
        "a feed that wants no wait",
        "a feed that wants more than the longest",
        "times that are none",
        "jitter is added",
        "Retry-After",
        "Retry-After in milliseconds",
        "a status without Retry-After",
        "Retry-After no less than the least",
    ],
)
async def test_the_waits(policy: dict[str, Any], scripts: list[Any], waits: list[float]) -> None:
    net = network(*scripts, OVER)
    await read(net.feed(reconnect=Reconnect(**{"least": 0, "longest": 0.008, "jitter": 0.0, **policy})))
    assert net.waits == pytest.approx(waits)


def test_a_feed_that_wants_no_wait_and_closes_is_asked_twice_a_second_at_most() -> None:
    assert Reconnect(random=lambda: 0.0).wait(0.0, 0, None) == 0.5
    assert Reconnect(random=lambda: 1.0).wait(0.0, 0, None) == 0.75


def test_no_number_of_failures_makes_the_wait_too_long() -> None:
    assert Reconnect(random=lambda: 0.0).wait(3.0, 10**9, None) == 60.0


@given(base=st.floats(0, 1e300), after=st.one_of(st.none(), st.text("0123456789.", min_size=1), st.text()))
def test_no_server_makes_a_feed_wait_for_ever(base: float, after: str | None) -> None:
    error = None if after is None else busy(503, retry_after=after)
    assert 0.5 <= Reconnect().wait(base, 1, error) <= MAX_WAIT_SECONDS


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"initial": -1}, "initial: expected 0 or more"),
        ({"least": float("nan")}, "least: expected 0 or more"),
        ({"longest": float("inf")}, "longest: expected 0 or more, and a finite number; found inf"),
        ({"attempts": 0}, "attempts: expected 1 or more, or None"),
    ],
)
def test_a_policy_that_is_none_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(sk.PipelineError, match=message):
        Reconnect(**options)


# Recoverable failures


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529])
@pytest.mark.parametrize("survives", [True, False])
async def test_a_status_that_may_pass_ends_it_unless_it_may_survive(status: int, survives: bool) -> None:
    failure = busy(status)
    net = network([b"data: x\n\n"], failure, [b"data: y\n\n"], OVER)
    feed = net.feed(reconnect=Reconnect(initial=0, least=0, statuses=survives))
    if survives:
        assert await data(feed) == ["x", "y"]
        assert [news.error for news in net.news] == [None, failure, None]
    else:
        with pytest.raises(sk.StatusError):
            await read(feed)


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 410])
async def test_any_other_status_ends_it(status: int) -> None:
    net = network([b"data: x\n\n"], busy(status), OVER)
    with pytest.raises(sk.StatusError):
        await read(net.feed(reconnect=Reconnect(initial=0, least=0, statuses=True)))
    assert len(net.made) == 2


@pytest.mark.parametrize("deadline", ["connect", "first_byte", "first_content", "idle_bytes", "idle_content"])
async def test_a_deadline_of_a_connection_is_announced_and_it_connects_again(deadline: str) -> None:
    late = sk.errors.DeadlineExceeded("late", deadline=deadline, seconds=1.0)
    net = network([b"data: x\n\n", late], [b"data: y\n\n"], OVER)
    assert await data(net.feed()) == ["x", "y"]
    assert net.news[0] == Reconnection(1, late, 0.0, "")


async def test_the_total_deadline_is_for_all_connections_and_ends_it() -> None:
    net = network([b"data: x\n\n"], [b"data: y\n\n", None], OVER)
    seen: list[Any] = []
    with pytest.raises(sk.errors.DeadlineExceeded) as caught:
        await read(net.feed(limits=sk.http.Deadlines(total=0.05)), seen)
    assert [event.data for event in seen] == ["x", "y"]
    assert (caught.value.deadline, caught.value.seconds) == ("total", 0.05)


async def test_the_total_deadline_passes_while_it_waits_to_connect_again() -> None:
    net = network([b"data: x\n\n"])
    with pytest.raises(sk.errors.DeadlineExceeded) as caught:
        await read(net.feed(limits=sk.http.Deadlines(total=0.02), reconnect=Reconnect(initial=3600)))
    assert (caught.value.deadline, caught.value.seconds) == ("total", 0.02)


async def test_an_error_in_the_callback_ends_it() -> None:
    def fail(_: Reconnection) -> None:
        raise LookupError

    net = network([b"data: x\n\n"])
    with pytest.raises(LookupError):
        await read(net.feed(on_reconnect=fail))
    assert net.made[0].closed


async def test_a_callback_that_would_have_to_be_awaited_is_refused() -> None:
    async def later(_: Reconnection) -> None:
        raise AssertionError

    with pytest.raises(sk.PipelineError, match="on_reconnect: expected a plain function, found an async one"):
        network().feed(on_reconnect=later)


async def test_fewer_than_no_reconnections_are_refused() -> None:
    with pytest.raises(sk.PipelineError, match="reconnects: expected 0 or more"):
        network().feed(reconnects=-1)


# Restarting


async def test_restart_drops_the_connection_and_keeps_the_id_and_the_time() -> None:
    net = network([b"retry: 9000\nid: 1\ndata: x\n\ndata: half"], [b"data: y\n\n"], OVER)
    feed = net.feed(reconnects=0)
    seen: list[str] = []
    async with feed | sk.stage(lambda event: event) as events:
        seen.append((await anext(events)).data)
        feed.restart()
        seen += [event.data async for event in events]
    assert seen == ["x", "y"]
    assert net.ids == ["", "1"]
    assert net.news == [Reconnection(1, None, 0.0, "1", restarted=True)]
    assert feed.reconnect_seconds == 9.0


async def waiting(net: Network, feed: Feed, last: int) -> None:
    """Restart the feed as soon as it waits, until `last` restarts."""
    for _ in range(last):
        await anyio.wait_all_tasks_blocked()
        feed.restart()


@pytest.mark.parametrize(
    ("policy", "scripts"),
    [
        (AT_ONCE, ([b"data: x\n\n", None], [None], [b"data: y\n\n"], OVER)),
        (Reconnect(initial=3600), ([b"data: x\n\n"], [None], [b"data: y\n\n"])),
    ],
    ids=["while it reads", "while it waits to connect again"],
)
async def test_restart_wakes_a_feed_that_waits(policy: Reconnect, scripts: Any) -> None:
    net = network(*scripts)
    feed = net.feed(reconnect=policy, reconnects=1)
    found: list[str] = []
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(waiting, net, feed, 2)
            async with feed | sk.stage(lambda event: event) as events:
                found += [(await anext(events)).data, (await anext(events)).data]
    assert found == ["x", "y"]
    assert [news.restarted for news in net.news[-2:]] == [True, True]
    assert all(connection.closed for connection in net.made)


async def test_a_restart_that_fails_is_followed_by_waits_as_any_failure() -> None:
    net = network([b"data: x\n\n"], REFUSED, [b"data: y\n\n"], OVER)
    feed = net.feed()
    async with feed | sk.stage(lambda event: event) as events:
        await anext(events)
        feed.restart()
        assert (await anext(events)).data == "y"
    assert [(news.error, news.restarted) for news in net.news] == [(None, True), (REFUSED, False)]


async def test_restart_does_nothing_before_the_opening_and_after_the_end() -> None:
    net = network([b"data: x\n\n"], OVER)
    feed = net.feed()
    feed.restart()
    assert await data(feed) == ["x"]
    feed.restart()
    assert (len(net.made), [news.restarted for news in net.news]) == (2, [False])


async def test_the_callback_may_restart_instead_of_waiting() -> None:
    net = network([b"data: x\n\n"], [b"data: y\n\n"], OVER)
    feed = net.feed(reconnect=Reconnect(initial=3600), on_reconnect=lambda news: feed.restart())
    assert await data(feed) == ["x", "y"]


# Clean-up


@pytest.mark.parametrize("steps", range(40))
async def test_cancelled_at_any_step_it_leaves_no_connection_open(steps: int) -> None:
    net = network([b"data: x\n\n", BROKEN], REFUSED, [b"data: y\n\n"], [None])

    async def cancel(scope: anyio.CancelScope) -> None:
        for _ in range(steps):
            await checkpoint()
        scope.cancel()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(cancel, tasks.cancel_scope)
        await read(net.feed())
    assert all(connection.closed >= connection.opened for connection in net.made)


async def test_it_is_shown_by_its_address_without_keys() -> None:
    assert repr(sk.feed("https://user:sk-secret@feed.example/v1?key=sk-secret")) == "<feed https://feed.example/v1>"
