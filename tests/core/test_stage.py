"""Stages: composition, runs without an event loop, and functions as stages."""

import functools
import operator
import pickle
import sys
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Generic, Protocol, TypedDict, TypeVar, cast

import pytest

import streamkit as sk
from streamkit.core.hints import classes_of
from streamkit.core.stage import Hop

if TYPE_CHECKING:
    from nowhere import Imported  # type: ignore[import-not-found]

A = TypeVar("A")


@dataclass
class Double(sk.Stage[int, int]):
    def feed(self, item: int) -> Iterable[int]:
        yield 2 * item


@dataclass
class Batch(sk.Stage[int, list[int]]):
    """Lists of two."""

    items: list[int] = field(default_factory=list, init=False)

    def feed(self, item: int) -> Iterable[list[int]]:
        self.items.append(item)
        if len(self.items) == 2:
            yield self.items
            self.items = []

    def flush(self) -> Iterable[list[int]]:
        if self.items:
            yield self.items


@dataclass
class Total(sk.Stage[list[int], int]):
    total: int = field(default=0, init=False)

    def feed(self, item: list[int]) -> Iterable[int]:
        self.total += sum(item)
        return ()

    def flush(self) -> Iterable[int]:
        yield self.total


@dataclass
class AsyncDouble(sk.AsyncStage[int, int]):
    async def feed(self, item: int) -> Iterable[int]:
        return [2 * item]


# Composition


def test_a_pipeline_is_a_stage_and_joins_like_one() -> None:
    pipeline = (Double() | Batch()) | (Total() | Double())

    assert isinstance(pipeline, sk.Stage)
    assert list(pipeline.run([1, 2, 3])) == [24]
    assert repr(pipeline) == "Double() | Batch(items=[]) | Total(total=0) | Double()"


def test_a_pipeline_can_be_fed_by_hand() -> None:
    pipeline = (Double() | Batch()).fresh()

    assert [list(pipeline.feed(item)) for item in (1, 2, 3)] == [[], [[2, 4]], []]
    assert list(pipeline.flush()) == [[6]]


@pytest.mark.anyio
async def test_an_async_pipeline_can_be_fed_by_hand() -> None:
    pipeline = (Double() | AsyncDouble() | Batch()).fresh()

    assert [list(await pipeline.feed(item)) for item in (1, 2, 3)] == [[], [[4, 8]], []]
    assert list(await pipeline.flush()) == [[12]]


@pytest.mark.anyio
async def test_an_async_pipeline_that_is_fed_by_hand_asks_a_stage_only_when_there_is_something() -> None:
    @sk.stage
    async def later(event: sk.TextDelta) -> sk.TextDelta:
        return event

    pipeline = (sk.Parse() | sk.Extract() | later).fresh()

    assert list(await pipeline.feed('data: {"choices":[{"delta":{"content":"a"}}]}')) == []
    assert list(await pipeline.feed("")) == [sk.TextDelta("a")]
    assert list(await pipeline.flush()) == [sk.StreamEnd("truncated", open_choices=(0,))]


class NotADataclass(sk.Stage[int, int]):
    def feed(self, item: int) -> Iterable[int]:
        yield item


class NotItselfADataclass(Double):
    """Only its base class is a dataclass."""


@dataclass
class Yields(sk.AsyncStage[int, int]):
    async def feed(self, item: int) -> AsyncIterator[int]:  # type: ignore[override]
        yield item


@dataclass
class YieldsInFlush(sk.AsyncStage[int, int]):
    async def feed(self, item: int) -> Iterable[int]:
        return [item]

    async def flush(self) -> AsyncIterator[int]:  # type: ignore[override]
        yield 0


@dataclass
class YieldsAsyncInSync(sk.Stage[int, int]):
    async def feed(self, item: int) -> AsyncIterator[int]:  # type: ignore[override]
        yield item


@dataclass
class Waits(sk.Stage[int, int]):
    async def feed(self, item: int) -> Iterable[int]:  # type: ignore[override]
        return [item]


@dataclass
class WaitsInFlush(sk.Stage[int, int]):
    def feed(self, item: int) -> Iterable[int]:
        return [item]

    async def flush(self) -> Iterable[int]:  # type: ignore[override]
        return []


def plain(item: int) -> int:
    return item


MISTAKES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "a class": (lambda left: left | Double, "found the class Double: write Double()"),
    "a class first": (lambda left: Double | left, "found the class Double: write Double()"),
    "a function": (lambda left: left | plain, "found the function plain: decorate it with @streamkit.stage"),
    "a function first": (lambda left: plain | left, "found the function plain: decorate it"),
    "a lambda": (lambda left: left | (lambda item: item), "found the function <lambda>: decorate it"),
    "an object": (lambda left: left | object(), "expected a stage, found an object of type object"),
    "a list": (lambda left: left | [1], "expected a stage, found an object of type list"),
    "None": (lambda left: left | None, "expected a stage, found an object of type NoneType"),
    "a number first": (lambda left: 1 | left, "expected a source .*, found an object of type int"),
    "a source on the right": (lambda left: left | sk.replay("x.sse"), "a source must come first"),
    "no dataclass": (lambda left: left | NotADataclass(), "NotADataclass is not a dataclass: decorate it"),
    "no dataclass first": (lambda left: NotADataclass() | left, "NotADataclass is not a dataclass"),
    "no dataclass of its own": (lambda left: left | NotItselfADataclass(), "NotItselfADataclass is not a dataclass"),
    "an async generator": (lambda left: left | Yields(), r"Yields\.feed is an async generator: .*return a list"),
    "an async generator in flush": (lambda left: left | YieldsInFlush(), r"YieldsInFlush\.flush is an async generator"),
    "an async generator in a Stage": (lambda left: left | YieldsAsyncInSync(), "make the class an AsyncStage"),
    "a coroutine": (lambda left: left | Waits(), r"Waits\.feed is a coroutine function: make the class an AsyncStage"),
    "a coroutine in flush": (lambda left: left | WaitsInFlush(), r"WaitsInFlush\.flush is a coroutine function"),
}


@pytest.mark.parametrize("left", [Double(), AsyncDouble(), Double() | Double()], ids=repr)
@pytest.mark.parametrize(("join", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_what_cannot_be_joined_is_refused_with_a_way_out(
    left: object, join: Callable[[Any], Any], message: str
) -> None:
    with pytest.raises(sk.PipelineError, match=message):
        join(left)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (Double, r"found the class Double: write Double\(\)"),
        (plain, "found the function plain: decorate it with @streamkit.stage"),
        (object(), "found an object of type object"),
        (sk.replay("y.sse"), "a source must come first"),
        (NotADataclass(), "NotADataclass is not a dataclass"),
        (Yields(), "async generator"),
        (Waits(), "coroutine function"),
    ],
    ids=["class", "function", "object", "source", "no dataclass", "async generator", "coroutine"],
)
def test_what_cannot_be_joined_to_a_source_is_refused_with_a_way_out(found: Any, message: str) -> None:
    with pytest.raises(sk.PipelineError, match=message):
        sk.replay("x.sse") | found


@pytest.mark.parametrize("stage", [NotADataclass(), Waits(), WaitsInFlush(), YieldsAsyncInSync()], ids=repr)
def test_a_stage_alone_is_checked_when_it_is_run(stage: Any) -> None:
    with pytest.raises(sk.PipelineError, match=r"is not a dataclass|make the class an AsyncStage"):
        stage.run([1])
    with pytest.raises(sk.PipelineError, match=r"is not a dataclass|make the class an AsyncStage"):
        stage.open([1])


METHODS = (
    *(
        "fresh",
        "feed",
        "flush",
        "tick",
        "inner",
        "buffers",
        "content_arrived",
        "item_types",
        "state",
        "restore",
        "open",
    ),
    "__or__",
)


@pytest.mark.parametrize(
    ("base", "name"),
    [
        *((base, name) for base in (sk.Stage, sk.AsyncStage) for name in METHODS),
        *((sk.Stage, name) for name in ("run", "feed_all")),
        *((base, "close") for base in (sk.AsyncStage, Hop)),
        (Hop, "join"),
    ],
)
def test_a_field_that_hides_a_method_is_rejected_when_the_class_is_created(base: Any, name: str) -> None:
    message = rf"^Shout: the field {name} hides the method {name}\(\) of every stage: rename the field$"

    for hint in (bool, "bool", "list[Later]"):
        with pytest.raises(sk.PipelineError, match=message):
            type("Shout", (base,), {"__annotations__": {name: hint}})
    for body in ({"__annotations__": {name: bool}, name: False}, {name: {}}):
        with pytest.raises(sk.PipelineError, match=message):
            type("Shout", (base,), body)


@pytest.mark.parametrize("name", ["waits", "joins", "measured", "moderates", "assembles", "_done", "_alarm"])
def test_a_field_that_hides_an_attribute_which_the_engine_reads_is_rejected(name: str) -> None:
    with pytest.raises(
        sk.PipelineError,
        match=rf"^Shout: the field {name} hides the attribute {name} of every stage: rename the field, or set the ",
    ):
        type("Shout", (sk.Stage,), {"__annotations__": {name: float}})


def test_a_field_of_another_dataclass_that_a_stage_inherits_is_checked_too() -> None:
    @dataclass
    class Options:
        fresh: bool = True

    with pytest.raises(sk.PipelineError, match="Shout: the field fresh hides"):
        type("Shout", (Options, sk.Stage), {})


def test_methods_settings_and_other_names_are_not_rejected() -> None:
    @dataclass
    class Named(sk.Stage[int, int]):
        assembles: "ClassVar[bool]" = True
        passes_others = True
        feeds: int = 1
        close: int = 2
        done: bool = field(default=False, init=False)
        answered: bool = field(default=False, init=False)

        def feed(self, item: int) -> list[int]:
            return [item + self.close]

        def fresh(self) -> "Named":
            return Named(self.feeds, self.close)

    assert list(Named(close=3).run([1])) == [4]


@pytest.mark.parametrize(
    ("left", "right", "message"),
    [
        (sk.Extract(), sk.Parse(), r"Extract \| Parse: Extract gives \w+, \w+, \w+, …, but Parse takes bytes"),
        (sk.Parse(), sk.sse.Lines(), r"Parse \| Lines: Parse gives ServerSentEvent, but Lines takes bytes"),
        (sk.Parse(), sk.Accumulate(), r"Parse \| Accumulate: Parse gives ServerSentEvent, but Accumulate takes"),
        (sk.sse.Lines(), sk.Extract(), r"Lines gives str, but Extract takes ServerSentEvent"),
        (Batch(), Double(), r"Batch gives list, but Double takes int"),
        (sk.Parse() | sk.Extract(), sk.Parse() | sk.Extract(), r"Extract \| Parse"),
        (Batch(), AsyncDouble(), r"Batch gives list, but AsyncDouble takes int"),
    ],
    ids=lambda value: None if isinstance(value, str) else repr(value),
)
def test_stages_in_the_wrong_order_are_refused(left: Any, right: Any, message: str) -> None:
    with pytest.raises(sk.PipelineError, match=message):
        left | right


class Described(Protocol):
    text: str


class Fields(TypedDict):
    text: str


@dataclass
class ByProtocol(sk.Stage[Described, str]):
    def feed(self, item: Described) -> Iterable[str]:
        yield item.text


@dataclass
class ByFields(sk.Stage[Fields, str]):
    def feed(self, item: Fields) -> Iterable[str]:
        yield item["text"]


@dataclass
class Generic1(sk.Stage[A, A], Generic[A]):
    def feed(self, item: A) -> Iterable[A]:
        yield item


@dataclass
class OfInts(Generic1[int]):
    """A subclass of a base with a single type parameter."""


@pytest.mark.parametrize(
    "pipeline",
    [
        lambda: sk.Parse() | sk.Extract() | ByProtocol(),
        lambda: Generic1[Any]() | ByFields() | sk.Parse(),
        lambda: Batch() | OfInts() | Batch(),
        lambda: Generic1[str]() | Generic1[int]() | Double(),
        lambda: sk.stage(int) | Double(),
    ],
    ids=["protocol", "typed dictionary", "own base", "generic", "builtin"],
)
def test_what_no_isinstance_could_tell_is_not_refused(pipeline: Callable[[], sk.Pipeline[Any, Any]]) -> None:
    assert isinstance(pipeline(), sk.Pipeline)


@pytest.mark.parametrize(
    ("hint", "classes"),
    [
        (int, (int,)),
        (list[int], (list,)),
        (int | str, (int, str)),
        (int | list[str] | None, (int, list, type(None))),
        (Annotated[int, "of apples"], (int,)),
        (object, None),
        (Any, None),
        (A, None),
        (int | Any, None),
        (Described, None),
        (Fields, None),
    ],
    ids=str,
)
def test_the_classes_of_a_hint(hint: object, classes: tuple[type, ...] | None) -> None:
    assert classes_of(hint) == classes


@pytest.mark.skipif(sys.version_info < (3, 12), reason="`type` statements are of 3.12")
def test_the_classes_of_a_named_hint() -> None:
    namespace: dict[str, Any] = {}
    exec("type Number = int | float", namespace)

    assert classes_of(namespace["Number"]) == (int, float)


# Run


BODY = b'data: {"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
EVENTS = [sk.TextDelta("hi"), sk.Finish("stop"), sk.StreamEnd("completed", saw_done=True)]
INPUTS: dict[str, Callable[[], Any]] = {
    "bytes": lambda: BODY,
    "bytearray": lambda: bytearray(BODY),
    "memoryview": lambda: memoryview(BODY),
    "text": lambda: BODY.decode(),
    "list of bytes": lambda: [BODY[:20], BODY[20:]],
    "tuple of bytes": lambda: (BODY[:20], BODY[20:]),
    "generator of bytes": lambda: (BODY[at : at + 1] for at in range(len(BODY))),
    "list of lines": lambda: BODY.decode().split("\n"),
    "generator of lines": lambda: (line for line in BODY.decode().split("\n")),
    "lines with ends": lambda: BODY.decode().splitlines(keepends=True),
}
every_input = pytest.mark.parametrize("items", INPUTS.values(), ids=INPUTS.keys())


@every_input
def test_run_takes_what_can_be_iterated(items: Callable[[], Any]) -> None:
    assert list((sk.Parse() | sk.Extract()).run(items())) == EVENTS


@every_input
@pytest.mark.anyio
async def test_open_takes_what_run_takes(items: Callable[[], Any]) -> None:
    pipeline = sk.Parse() | sk.Extract()

    assert [event async for event in pipeline.open(items())] == EVENTS
    assert [event async for event in items() | pipeline] == EVENTS


@every_input
@pytest.mark.anyio
async def test_open_takes_the_same_from_an_async_iterable(items: Callable[[], Any]) -> None:
    class Whole:
        def __aiter__(self) -> AsyncIterator[Any]:
            return given()

    async def given() -> AsyncIterator[Any]:
        whole = items()
        for item in (whole,) if isinstance(whole, bytes | bytearray | memoryview | str) else whole:
            yield item

    pipeline = sk.Parse() | sk.Extract()

    assert [event async for event in pipeline.open(given())] == EVENTS
    assert [event async for event in pipeline.open(Whole())] == EVENTS
    assert [event async for event in given() | pipeline] == EVENTS


@pytest.mark.anyio
async def test_an_async_iterator_needs_no_more_than_async_for_does() -> None:
    class Next:
        left = 3

        async def __anext__(self) -> int:
            self.left -= 1
            if self.left < 0:
                raise StopAsyncIteration
            return self.left

    class Numbers:
        def __aiter__(self) -> Next:
            return Next()

    numbers = cast(AsyncIterable[int], Numbers())

    assert [item async for item in Double().open(numbers)] == [4, 2, 0]


@pytest.mark.parametrize("wrong", [1, None, object()], ids=repr)
def test_what_cannot_be_iterated_is_refused(wrong: Any) -> None:
    with pytest.raises(sk.PipelineError, match="run takes an iterable, found an object of type"):
        Double().run(wrong)
    with pytest.raises(sk.PipelineError, match=r"expected a source .* or an iterable, found an object of type"):
        Double().open(wrong)


def test_run_refuses_what_is_async() -> None:
    async def numbers() -> AsyncIterator[int]:
        yield 1

    with pytest.raises(sk.PipelineError, match=r"open\(source\) takes async ones"):
        Double().run(cast(Any, numbers()))


def test_run_gives_each_result_as_soon_as_it_is_there() -> None:
    read: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(5):
            read.append(number)
            yield number

    run = Double().run(numbers())

    assert (next(run), read) == (0, [0])
    assert (next(run), read) == (2, [0, 1])


def test_run_reads_no_more_when_a_stage_is_done() -> None:
    def lines() -> Iterator[str]:
        yield from ["data: [DONE]", "", "data: never", ""]
        raise AssertionError("read on after [DONE]")

    assert list((sk.Parse() | sk.Extract()).run(lines())) == [sk.StreamEnd("truncated", saw_done=True)]


def test_a_runs_own_stages_can_be_read() -> None:
    run = (Double() | Batch() | Total()).run([1, 2])

    assert list(run) == [6]
    assert run.stage(Total).total == 6
    with pytest.raises(sk.PipelineError, match="there is no Parse in this pipeline"):
        run.stage(sk.Parse)


def test_run_tells_the_time_to_those_who_hear_it() -> None:
    times = iter([100.0, 101.0, 102.5, 103.0])
    events = iter([sk.TextDelta("a"), sk.StreamEnd("completed")])

    assert list(sk.Timing().run(events, clock=lambda: next(times)))[1] == sk.Timings(1.0, 1.0, (1.0,), 2.5)


def test_a_note_names_the_stage_that_failed_and_its_place() -> None:
    with pytest.raises(TypeError) as caught:
        list((Double() | Batch() | Total()).run([1, cast(int, None)]))

    assert caught.value.__notes__ == ["in stage 1 of 3: Double"]


@pytest.mark.anyio
async def test_a_method_that_returns_no_iterable_fails_with_a_hint() -> None:
    @dataclass
    class One(sk.Stage[int, int]):
        def feed(self, item: int) -> Any:
            return item

    @dataclass
    class All(sk.Stage[int, int]):
        def feed_all(self, items: list[int]) -> Any:
            return items[0]

    @dataclass
    class Flushes(sk.Stage[int, int]):
        def feed(self, item: int) -> Any:
            return (item,)

        def flush(self) -> Any:
            return None

    @dataclass
    class AsyncOne(sk.AsyncStage[int, int]):
        async def feed(self, item: int) -> Any:
            return item

    hint = "feed, feed_all and flush return an iterable of items: (item,) for one item, () for none"
    for stage in (One(), All(), Flushes(), One() | Double()):
        with pytest.raises(TypeError, match="object is not iterable") as caught:
            list(stage.run([1, 2]))
        assert caught.value.__notes__[0] == hint
    for pipeline in (One(), AsyncOne(), AsyncOne() | Double()):
        with pytest.raises(TypeError, match="object is not iterable") as caught:
            await pipeline.open([1, 2]).collect()
        assert caught.value.__notes__[0] == hint


def test_a_type_error_of_a_stages_own_code_has_no_such_hint() -> None:
    @dataclass
    class Wrong(sk.Stage[int, int]):
        def feed(self, item: int) -> Iterable[int]:
            return list(cast(Any, item))

    with pytest.raises(TypeError, match="'int' object is not iterable") as caught:
        list(Wrong().run([1]))

    assert caught.value.__notes__ == ["in stage 1 of 1: Wrong"]


def test_a_stage_without_a_feed_says_what_is_missing() -> None:
    @dataclass
    class Empty(sk.Stage[int, int]):
        """Nothing yet."""

    with pytest.raises(NotImplementedError, match="Empty needs a feed method"):
        list(Empty().run([1]))


def test_a_list_that_a_stage_gives_stays_its_own() -> None:
    @dataclass
    class Keeps(sk.Stage[int, int]):
        kept: list[int] = field(default_factory=list, init=False)

        def feed_all(self, items: list[int]) -> list[int]:
            self.kept += items
            return self.kept

        def flush(self) -> Iterable[int]:
            yield 0

    @dataclass
    class AtTheEnd(sk.Stage[int, int]):
        def feed(self, item: int) -> Iterable[int]:
            return ()

        def flush(self) -> Iterable[int]:
            yield 1

    run = (AtTheEnd() | Keeps()).run([5])

    assert list(run) == [1, 0]
    assert run.stage(Keeps).kept == [1]


# Done


@dataclass
class Until(sk.Stage[int, int]):
    """The items up to `last`, and a marker at the end."""

    last: int

    def feed(self, item: int) -> Iterable[int]:
        if not self.done:
            yield item
        self.done = self.done or item == self.last

    def flush(self) -> Iterable[int]:
        yield -1


@dataclass
class Last(sk.Stage[int, int]):
    """The items, and a marker at the end."""

    mark: int

    def feed(self, item: int) -> Iterable[int]:
        yield item

    def flush(self) -> Iterable[int]:
        yield self.mark


@pytest.mark.parametrize("items", [[1, 2, 3], iter([1, 2, 3])], ids=["one burst", "one by one"])
def test_done_flushes_the_stage_and_those_after_it_but_none_before(items: Iterable[int]) -> None:
    pipeline = Last(-10) | Until(2) | Last(-20)

    assert list(pipeline.run(items)) == [1, 2, -1, -20]


def test_done_does_not_even_ask_the_stages_before_it() -> None:
    log: list[str] = []

    @dataclass
    class Logs(Last):
        def flush(self) -> Iterable[int]:
            log.append(f"flush {self.mark}")
            return ()

    list((Logs(1) | Until(2) | Logs(2)).run([1, 2, 3]))

    assert log == ["flush 2"]


def test_of_two_stages_that_are_done_the_last_counts() -> None:
    assert list((Until(3) | Last(-10) | Until(2) | Last(-20)).run([1, 2, 3])) == [1, 2, -1, -20]


def test_a_failure_behind_the_end_that_a_stage_has_set_is_not_raised() -> None:
    @sk.stage
    def fail(item: int) -> int:
        if item == 3:
            raise ArithmeticError
        return item

    assert list((fail | Until(2)).run([1, 2, 3])) == [1, 2, -1]
    with pytest.raises(ArithmeticError):
        list((Until(3) | fail).run([1, 2, 3]))


@pytest.mark.anyio
async def test_done_in_a_pipeline_that_is_fed_by_hand() -> None:
    pipeline = (Last(-10) | Until(2) | AsyncDouble() | Last(-20)).fresh()

    assert [list(await pipeline.feed(item)) for item in (1, 2)] == [[2], [4]]
    assert pipeline.done
    assert list(await pipeline.flush()) == [-2, -20]


# Functions as stages


@sk.stage
def shout(event: sk.TextDelta) -> sk.TextDelta:
    return sk.TextDelta(event.text.upper())


@dataclass
class AsyncSame(sk.AsyncStage[Any, Any]):
    async def feed(self, item: Any) -> Iterable[Any]:
        return [item]


@sk.stage
async def shout_later(event: sk.TextDelta) -> sk.TextDelta:
    return sk.TextDelta(event.text.upper())


def whisper(event: sk.TextDelta) -> sk.TextDelta:
    return sk.TextDelta(event.text.lower())


whispered = sk.stage(whisper)


def results(function: Callable[..., Any], *items: object) -> list[object]:
    return list(cast(Any, sk.stage(function)).run(list(items)))


@pytest.mark.parametrize(
    ("returned", "items"),
    [
        (None, []),
        (1, [1]),
        (0, [0]),
        ("", [""]),
        ("ab", ["ab"]),
        (b"ab", [b"ab"]),
        ({"a": 1}, [{"a": 1}]),
        ([], []),
        ([1, 2], [1, 2]),
        ((1, 2), [1, 2]),
        (sk.TextDelta("a"), [sk.TextDelta("a")]),
    ],
    ids=repr,
)
@pytest.mark.anyio
async def test_a_function_gives_none_one_or_many(returned: object, items: list[object]) -> None:
    async def later(item: int) -> object:
        return returned

    assert results(lambda item: returned, 0) == items
    assert [item async for item in cast(Any, sk.stage(later)).open([0])] == items


def test_a_generator_function_gives_what_it_yields() -> None:
    def twice(item: int) -> Iterator[int]:
        yield item
        yield item

    assert results(twice, 1, 2) == [1, 1, 2, 2]
    assert results(lambda item: map(abs, item), [-1, -2]) == [1, 2]


def test_the_parameters_annotation_says_which_items_a_function_gets() -> None:
    def one(item: int) -> str:
        return f"one {item}"

    def either(item: int | bytes) -> str:
        return f"either {item!r}"

    def unknown(item):  # type: ignore[no-untyped-def]
        return f"unknown {item!r}"

    def anything(item: Any) -> str:
        return f"any {item!r}"

    assert results(one, 1, "a", None) == ["one 1", "a", None]
    assert results(either, 1, b"b", "a") == ["either 1", "either b'b'", "a"]
    assert results(unknown, 1, "a") == ["unknown 1", "unknown 'a'"]
    assert results(anything, 1, "a") == ["any 1", "any 'a'"]
    assert results(int, "1", "2") == [1, 2]


def test_annotations_may_be_text() -> None:
    def one(item: "int") -> "str":
        return f"one {item}"

    assert results(one, 1, "a") == ["one 1", "a"]


def test_an_annotation_of_the_result_may_be_for_type_checkers_alone() -> None:
    def one(item: int) -> "Imported":
        return f"one {item}"

    def text(item: "int") -> "Imported":
        return f"one {item}"

    assert results(one, 1, "a") == ["one 1", "a"]
    assert results(text, 1, "a") == ["one 1", "a"]


def test_an_annotation_that_cannot_be_known_lets_everything_in() -> None:
    def all_of(item: "Imported") -> str:
        return f"got {item!r}"

    assert results(all_of, 1, "a") == ["got 1", "got 'a'"]


def test_events_of_other_kinds_pass_a_function() -> None:
    events: list[sk.Event] = [sk.TextDelta("a"), sk.ReasoningDelta("b"), sk.StreamEnd("completed")]

    assert list(shout.run(events)) == [sk.TextDelta("A"), *events[1:]]


def test_functions_that_take_events_are_checked_like_stages_of_events() -> None:
    @sk.stage
    def number(item: int) -> int:
        return item

    assert isinstance(sk.Parse() | sk.Extract() | shout | shout_later | sk.Accumulate(), sk.AsyncPipeline)
    with pytest.raises(sk.PipelineError, match=r"FunctionStage gives .*but Parse takes bytes"):
        shout | sk.Parse()
    with pytest.raises(sk.PipelineError, match="Parse gives ServerSentEvent, but FunctionStage takes int"):
        sk.Parse() | number


@pytest.mark.anyio
async def test_an_async_function_is_an_async_stage() -> None:
    assert isinstance(shout_later, sk.AsyncStage)
    assert [event async for event in [sk.TextDelta("a"), sk.Finish("stop")] | shout_later] == [
        sk.TextDelta("A"),
        sk.Finish("stop"),
    ]


@pytest.mark.anyio
async def test_an_object_with_an_async_call_is_an_async_stage() -> None:
    class Remote:
        async def __call__(self, item: int) -> int:
            return item + 1

    stage = sk.stage(Remote())

    assert isinstance(stage, sk.AsyncStage)
    assert [item async for item in [1, 2] | stage] == [2, 3]


def test_a_partial_is_a_function() -> None:
    def add(number: int, item: int) -> int:
        return number + item

    stage = cast(sk.Stage[Any, Any], sk.stage(functools.partial(add, 1)))

    assert list(stage.run([1, "a"])) == [2, "a"]
    # The arguments of a partial are not shown, since they may be a secret key.
    assert repr(stage) == f"{test_a_partial_is_a_function.__name__}.<locals>.add"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (1, "@stage takes a function, found an object of type int"),
        (Double, "@stage takes a function, found Double, which is a stage already"),
        (shout, "@stage takes a function, found an object of type FunctionStage"),
    ],
    ids=["number", "stage class", "stage"],
)
def test_only_functions_are_made_stages(wrong: Any, message: str) -> None:
    with pytest.raises(sk.PipelineError, match=message):
        sk.stage(wrong)


def test_an_async_generator_function_is_refused_with_a_way_out() -> None:
    async def numbers(item: int) -> AsyncIterator[int]:
        yield item

    with pytest.raises(sk.PipelineError, match=r"numbers is an async generator function: .*AsyncStage"):
        sk.stage(cast(Any, numbers))
    with pytest.raises(sk.PipelineError, match="numbers is an async generator function"):
        sk.stage(cast(Any, functools.partial(numbers)))


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "stage",
    [
        shout,
        shout_later,
        whispered,
        sk.stage(operator.neg),
        sk.Parse() | sk.Extract() | shout | whispered,
        sk.Parse() | sk.Extract() | shout_later | sk.Moderate(sk.Rule("a", ("b",))) | sk.Count("gpt-4o"),
        shout.fresh(),
        Double() | Batch() | Total(),
    ],
    ids=repr,
)
def test_stages_and_pipelines_can_be_pickled(stage: object, protocol: int) -> None:
    copy = pickle.loads(pickle.dumps(stage, protocol))

    assert copy == stage
    assert repr(copy) == repr(stage)


def test_a_pickled_function_stage_works() -> None:
    copy = pickle.loads(pickle.dumps(shout | whispered | shout))

    assert list(copy.run([sk.TextDelta("aB")])) == [sk.TextDelta("AB")]


def test_a_local_function_cannot_be_pickled_and_pickle_says_so() -> None:
    with pytest.raises((pickle.PicklingError, AttributeError), match="<lambda>"):
        pickle.dumps(sk.stage(lambda item: item))
