"""An async function called with several items at a time: order, bounds, failures, and clean-up."""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import anyio
import pytest
from anyio import wait_all_tasks_blocked
from anyio.lowlevel import checkpoint

import streamkit as sk
from streamkit.events import Skipped, ToolCall
from streamkit.hops import concurrent_map

pytestmark = pytest.mark.anyio

END = sk.StreamEnd("completed")


class Items:
    """An async generator that records how many items were read, and whether it was closed."""

    def __init__(self, *items: Any, error: Exception | None = None, endless: bool = False) -> None:
        self.items = items
        self.error = error
        self.endless = endless
        self.read = 0
        self.closed = False

    async def __call__(self) -> AsyncGenerator[Any, None]:
        try:
            for item in self.items:
                await checkpoint()
                self.read += 1
                yield item
            if self.endless:
                await anyio.sleep_forever()
            if self.error:
                raise self.error
        finally:
            self.closed = True


class Calls:
    """A function whose calls wait until the test releases them."""

    def __init__(self) -> None:
        self.running: dict[Any, anyio.Event] = {}
        self.most = 0
        self.cancelled: list[Any] = []
        self.failing: dict[Any, Exception] = {}

    async def __call__(self, item: Any) -> str:
        self.running[item] = anyio.Event()
        self.most = max(self.most, len(self.running))
        try:
            await self.running[item].wait()
        except anyio.get_cancelled_exc_class():
            self.cancelled.append(item)
            raise
        finally:
            del self.running[item]
        if item in self.failing:
            raise self.failing[item]
        return f"<{item}>"

    async def release(self, *items: Any) -> None:
        for item in items:
            self.running[item].set()
            await wait_all_tasks_blocked()


async def twice(number: int) -> int:
    await checkpoint()
    return number * 2


async def all_of(items: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in items]


@pytest.mark.parametrize("concurrency", [1, 2, 8])
@pytest.mark.parametrize("ahead", [1, 3, 64])
async def test_results_come_in_the_order_of_their_items(concurrency: int, ahead: int) -> None:
    items = Items(*range(40))

    async with concurrent_map(items(), twice, concurrency=concurrency, ahead=ahead) as mapped:
        assert await all_of(mapped) == [number * 2 for number in range(40)]

    assert items.closed


async def test_no_more_calls_than_the_concurrency_and_no_more_items_than_ahead() -> None:
    calls, items = Calls(), Items(*range(100))

    async with concurrent_map(items(), calls, concurrency=3, ahead=10):
        await wait_all_tasks_blocked()
        assert (sorted(calls.running), items.read) == ([0, 1, 2], 10)

    assert calls.most == 3


async def test_a_result_waits_for_those_before_it_and_without_order_for_none() -> None:
    for ordered, expected in ((True, ["<a>", "<b>", "<c>"]), (False, ["<c>", "<a>", "<b>"])):
        calls = Calls()
        async with concurrent_map(Items("a", "b", "c")(), calls, ordered=ordered) as mapped:
            await wait_all_tasks_blocked()
            await calls.release("c", "a", "b")
            assert await all_of(mapped) == expected


async def test_other_events_keep_their_position() -> None:
    async def shout(delta: sk.TextDelta) -> sk.TextDelta:
        await checkpoint()
        return sk.TextDelta(delta.text.upper())

    reasoning = [sk.ReasoningDelta(str(number)) for number in range(3)]
    events = [reasoning[0], sk.TextDelta("a"), reasoning[1], sk.TextDelta("b"), reasoning[2], END]

    async with concurrent_map(Items(*events)(), shout) as mapped:
        assert await all_of(mapped) == [
            reasoning[0],
            sk.TextDelta("A"),
            reasoning[1],
            sk.TextDelta("B"),
            reasoning[2],
            END,
        ]


async def test_without_order_other_events_do_not_wait_but_the_end_does() -> None:
    calls = Calls()
    events = Items("a", sk.Finish("stop"), END)

    async with concurrent_map(events(), calls, ordered=False, of=str) as mapped:
        assert await anext(mapped) == sk.Finish("stop")
        await wait_all_tasks_blocked()
        await calls.release("a")
        assert await all_of(mapped) == ["<a>", END]


async def test_the_result_is_what_the_function_returns_a_list_too() -> None:
    async def embed(text: str) -> list[float] | None:
        return [1.0, 2.0] if text else None

    async with concurrent_map(Items("a", "")(), embed) as mapped:
        assert await all_of(mapped) == [[1.0, 2.0], None]


async def test_complete_tool_calls_are_items_too() -> None:
    async def name(call: ToolCall) -> str:
        return f"{call.name}{call.arguments}"

    deltas = [
        sk.ToolCallDelta(0, "c1", "a", "{"),
        sk.ToolCallDelta(1, "c2", "b", "{}"),
        sk.ToolCallDelta(0, arguments="}"),
    ]
    events = [*deltas, sk.Finish("tool_calls"), sk.StreamEnd("tool_calls")]

    async with concurrent_map(Items(*events)(), name) as mapped:
        assert await all_of(mapped) == [*deltas, "a{}", "b{}", *events[-2:]]


# Failures


async def test_the_first_failure_cancels_the_rest_and_comes_after_the_results_before_it() -> None:
    calls, items = Calls(), Items("a", "b", "c", "d", endless=True)
    calls.failing["c"] = ValueError("no")

    async with concurrent_map(items(), calls) as mapped:
        await wait_all_tasks_blocked()
        await calls.release("a", "c")
        assert await anext(mapped) == "<a>"
        for _ in range(2):
            with pytest.raises(ValueError, match="no") as caught:
                await anext(mapped)
        assert caught.value.__notes__ == ["in concurrent_map: Calls"]
        assert (sorted(calls.cancelled), calls.running, items.closed) == (["b", "d"], {}, True)


async def test_an_error_of_the_source_comes_after_all_results_before_it() -> None:
    calls, items = Calls(), Items("a", "b", error=sk.errors.Disconnected("gone"))
    seen: list[Any] = []

    async with concurrent_map(items(), calls) as mapped:
        await wait_all_tasks_blocked()
        await calls.release("b", "a")
        with pytest.raises(sk.errors.Disconnected):
            async for item in mapped:
                seen.append(item)

    assert seen == ["<a>", "<b>"]


class Flaky:
    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.calls = 0

    async def __call__(self, item: Any) -> Any:
        await checkpoint()
        if item == "bad":
            self.calls += 1
            if self.calls <= self.failures:
                raise ValueError("secret text")
        return item


async def test_skip_leaves_the_item_out_and_reports_it_without_its_text() -> None:
    async with concurrent_map(Items("a", "bad", "b")(), Flaky(9), on_error="skip") as mapped:
        found = await all_of(mapped)

    assert found == ["a", Skipped("str", "ValueError", 1, 1), "b"]
    assert "secret" not in repr(found)


async def test_retry_calls_again_and_raises_after_the_last_attempt() -> None:
    waits: list[int] = []

    def wait(attempt: int) -> float:
        waits.append(attempt)
        return 0

    flaky = Flaky(2)
    async with concurrent_map(Items("bad", "a")(), flaky, on_error="retry", wait=wait) as mapped:
        assert await all_of(mapped) == ["bad", "a"]
    assert (flaky.calls, waits) == (3, [1, 2])

    flaky = Flaky(9)
    async with concurrent_map(Items("bad", "a")(), flaky, on_error="retry", attempts=2, wait=wait) as mapped:
        with pytest.raises(ValueError, match="secret text"):
            await anext(mapped)
    assert flaky.calls == 2


async def test_a_function_decides_by_the_exception_and_the_item() -> None:
    def decide(error: Exception, item: Any) -> Any:
        assert (str(error), item) == ("secret text", "bad")
        return "skip"

    async with concurrent_map(Items("bad")(), Flaky(9), on_error=decide) as mapped:
        assert await all_of(mapped) == [Skipped("str", "ValueError", 1, 0)]

    def broken(error: Exception, item: Any) -> Any:
        raise KeyError("decide")

    async with concurrent_map(Items("bad")(), Flaky(9), on_error=broken) as mapped:
        with pytest.raises(KeyError, match="decide"):
            await anext(mapped)


async def test_a_function_that_decides_something_else_is_a_mistake() -> None:
    async with concurrent_map(Items("bad")(), Flaky(9), on_error=lambda error, item: "ignore") as mapped:  # type: ignore[arg-type,return-value] # pyright: ignore[reportArgumentType]
        with pytest.raises(sk.PipelineError, match="expected it to return raise, skip or retry, found 'ignore'"):
            await anext(mapped)


async def test_an_item_that_was_retried_in_vain_can_be_skipped() -> None:
    attempts: dict[Any, int] = {}

    def decide(error: Exception, item: Any) -> Any:
        attempts[item] = attempts.get(item, 0) + 1
        return "retry" if attempts[item] < 3 else "skip"

    async with concurrent_map(
        Items("a", "bad", "b")(), Flaky(9), on_error=decide, attempts=5, wait=lambda _: 0
    ) as mapped:
        assert await all_of(mapped) == ["a", Skipped("str", "ValueError", 3, 1), "b"]


# Clean-up


async def test_leaving_early_cancels_the_calls_and_closes_the_source() -> None:
    calls, items = Calls(), Items("a", "b", endless=True)

    async with concurrent_map(items(), calls) as mapped:
        await wait_all_tasks_blocked()
        await calls.release("a")
        assert await anext(mapped) == "<a>"

    assert (calls.cancelled, calls.running, items.closed) == (["b"], {}, True)


async def test_closing_it_cancels_the_calls_and_wakes_the_consumer() -> None:
    calls, items = Calls(), Items("a", endless=True)

    async with concurrent_map(items(), calls) as mapped, anyio.create_task_group() as group:

        async def consume() -> None:
            assert await all_of(mapped) == []

        group.start_soon(consume)
        await wait_all_tasks_blocked()
        await mapped.aclose()
        assert (calls.cancelled, items.closed) == (["a"], True)


async def test_cancelling_the_consumer_cancels_the_calls() -> None:
    calls, items = Calls(), Items("a", endless=True)

    async with anyio.create_task_group() as group:

        async def consume() -> None:
            async with concurrent_map(items(), calls) as mapped:
                await all_of(mapped)

        group.start_soon(consume)
        await wait_all_tasks_blocked()
        group.cancel_scope.cancel()

    assert (calls.cancelled, items.closed) == (["a"], True)


async def _cancel_when_blocked(scope: anyio.CancelScope) -> None:
    await wait_all_tasks_blocked()
    scope.cancel()


async def test_a_read_that_was_cancelled_loses_nothing() -> None:
    calls = Calls()

    async with concurrent_map(Items("a", "b")(), calls) as mapped:
        with anyio.CancelScope() as scope, anyio.fail_after(5):
            async with anyio.create_task_group() as group:
                group.start_soon(_cancel_when_blocked, scope)
                await anext(mapped)
        assert scope.cancelled_caught
        await calls.release("a", "b")
        assert await all_of(mapped) == ["<a>", "<b>"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"function": 1}, "expected an async function, found an object of type int"),
        ({"on_error": "ignore"}, "on_error: expected 'raise', 'skip', 'retry' or a function, found 'ignore'"),
        ({"concurrency": 0}, "expected a concurrency of 1 or more, found 0"),
        ({"concurrency": 2.5}, "expected a concurrency that is a whole number, found 2.5"),
        ({"concurrency": True}, "expected a concurrency that is a whole number, found True"),
        ({"ahead": "64"}, "expected a number_ahead that is a whole number, found an object of type str"),
        ({"attempts": 0}, "expected a number_of_attempts of 1 or more, found 0"),
        ({"ahead": 0}, "expected a number_ahead of 1 or more, found 0"),
        ({"wait": 1}, "wait: expected a function of the number of the attempt, found an object of type int"),
        ({"ordered": "no"}, "ordered: expected True or False, found an object of type str"),
        ({"of": "TextDelta"}, "of: expected a class, or a tuple of them, found an object of type str"),
        ({"of": ()}, "of: expected a class, or a tuple of them, found an object of type tuple"),
    ],
)
async def test_options_that_can_t_work_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(sk.PipelineError, match=message):
        async with concurrent_map(Items()(), **{"function": twice, **options}):
            pass


@pytest.mark.parametrize("wait", [lambda attempt: 1 / 0, lambda attempt: "soon"])
async def test_a_failure_of_the_wait_is_raised_and_is_no_end(wait: Any) -> None:
    items = Items("a", "b", "c")

    async def fails_for_b(item: str) -> str:
        await checkpoint()
        if item == "b":
            raise ValueError
        return item

    mapping = sk.hops.ConcurrentMap(fails_for_b, 1, on_error="retry", wait=wait)
    stream = items() | sk.ops.Tap(lambda item: None) | mapping
    seen: list[object] = []
    async with stream as mapped:
        with pytest.raises((ZeroDivisionError, TypeError)):
            async for item in mapped:
                seen.append(item)

    assert seen == ["a"]
    assert items.closed
    assert stream.end is not None
    assert stream.end.reason == "error"


@pytest.mark.parametrize("on_error", ["raise", "skip", "retry"])
async def test_a_function_that_is_not_async_is_named(on_error: Any) -> None:
    def double(number: int) -> int:
        return 2 * number

    with pytest.raises(sk.PipelineError) as caught:
        async with concurrent_map(Items(1, 2)(), double, on_error=on_error) as numbers:  # type: ignore[arg-type]
            async for _ in numbers:
                pass

    said = str(caught.value)
    assert said.startswith("expected an async function; ")
    assert said.endswith(".double returned an object of type int: use ops.Map for one that is not async")


async def of_even(number: int) -> int:
    await checkpoint()
    if number % 2:
        raise ValueError(number)
    return number


@pytest.mark.parametrize("ordered", [True, False])
async def test_a_skipped_item_is_found_by_its_position_in_the_input(ordered: bool) -> None:
    items: list[Any] = [2, 3, "passes through", 4, 5, 7]

    async with concurrent_map(items, of_even, of=int, on_error="skip", ordered=ordered) as mapped:
        skipped = [item for item in await all_of(mapped) if isinstance(item, Skipped)]

    found = [items[item.position or 0] for item in skipped]
    assert (found if ordered else sorted(found)) == [3, 5, 7]
