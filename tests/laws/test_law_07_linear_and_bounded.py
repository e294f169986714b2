"""Law 7: time is linear in the input for every fragmentation, memory is bounded, and the limit is a typed error."""

import gc
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from time import process_time
from typing import Any

import pytest

import streamkit as sk

KIB, MIB = 1024, 1024 * 1024


def seconds(run: Callable[[], object]) -> float:
    """The processor time of the fastest of three runs."""

    def once() -> float:
        start = process_time()
        run()
        return process_time() - start

    gc.disable()
    try:
        return min(once() for _ in range(3))
    finally:
        gc.enable()


def growth(run: Callable[[int], object], size: int) -> float:
    """The factor by which the time grows for eight times the input: about 8 if it is linear, 64 if it is quadratic."""
    return seconds(lambda: run(8 * size)) / seconds(lambda: run(size))


LINEAR = 8 * 2.5
"""The limit leaves room for a busy machine; a quadratic reader exceeds it by far."""


def in_pieces(size: int, of: int) -> Iterator[bytes]:
    return (b"x" * of for _ in range(0, size, of))


def test_a_line_of_2_mib_in_1_byte_pieces_is_one_line() -> None:
    pieces = [b"x"] * (2 * MIB)
    pieces.append(b"\n")

    (line,) = sk.sse.Lines().feed_all(pieces)

    assert len(line) == 2 * MIB


@pytest.mark.parametrize("of", [1, 64])
def test_lines_takes_time_linear_in_the_line_for_any_pieces(of: int) -> None:
    def read(size: int) -> None:
        assert sum(map(len, sk.sse.Lines().run(list(in_pieces(size, of))))) == size

    assert growth(read, 16 * KIB * of) < LINEAR


def test_lines_takes_time_linear_in_the_number_of_lines_that_a_piece_ends() -> None:
    # Each piece ends a line and begins the next one.
    def read(number: int) -> None:
        assert len(list(sk.sse.Lines().run([b"tail\nhead"] * number))) == number + 1

    assert growth(read, 4 * KIB) < LINEAR


def chunk(content: str) -> bytes:
    return b'data: {"choices":[{"index":0,"delta":{"content":"%s"}}]}\n\n' % content.encode()


def test_one_long_event_in_pieces_takes_linear_time() -> None:
    pipeline = sk.Parse() | sk.Extract() | sk.Accumulate()

    def read(size: int) -> None:
        body = chunk("x" * size)
        events = list(pipeline.run(body[at : at + 16] for at in range(0, len(body), 16)))
        assert events[0] == sk.TextDelta("x" * size)

    assert growth(read, 32 * KIB) < LINEAR


def test_one_event_of_many_lines_takes_linear_time() -> None:
    def read(number: int) -> None:
        (event,) = sk.Parse().run([*["data: x"] * number, ""])
        assert len(event.data) == 2 * number - 1

    assert growth(read, 16 * KIB) < LINEAR


STAGES: dict[str, sk.Stage[Any, Any]] = {
    "Accumulate": sk.Accumulate(),
    "Moderate a phrase": sk.Moderate(sk.Rule("a", ("never said",))),
    "Moderate a pattern": sk.Moderate(sk.Rule("a", patterns=(r"\bnever\s+said\b",))),
    "Timing": sk.Timing(),
    "all": sk.Moderate(sk.Rule("a", ("never said",))) | sk.Accumulate() | sk.Timing(),
}


@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES.keys())
@pytest.mark.parametrize("text", ["word ", "x", "neve"])
def test_many_small_deltas_take_linear_time(stage: sk.Stage[sk.Event, sk.Event], text: str) -> None:
    def read(number: int) -> None:
        events = [sk.TextDelta(text)] * number
        passed = stage.run(events, clock=lambda: 0.0)
        released = "".join(event.text for event in passed if isinstance(event, sk.TextDelta))
        assert len(released) == number * len(text)

    assert growth(read, 2 * KIB) < LINEAR


HARD: dict[str, tuple[sk.Rule, str]] = {
    "a phrase that overlaps itself, repeated": (sk.Rule("a", ("ha ha",)), "ha "),
    "the shortest, in a row": (sk.Rule("a", ("aa",)), "a"),
    "a long periodic phrase that never ends": (sk.Rule("a", ("a" * 800 + "b",)), "aaaa"),
    "a long phrase in its own row": (sk.Rule("a", ("a" * 64,)), "aaaa"),
    "a long literal as a pattern": (sk.Rule("a", patterns=("a" * 1_000,)), "abc "),
    "a pattern that overlaps itself": (sk.Rule("a", patterns=("(?=ha ha)ha",)), "ha "),
    "a pattern that has no end": (sk.Rule("a", patterns=("<<.*>>",)), "<<word "),
    "matches of many rules at each place": (sk.Rule("a", tuple("a" * size for size in range(1, 30))), "a"),
    "matches that are only reported": (sk.Rule("a", ("ha ha",), action="annotate"), "ha "),
    "exceptions that overlap": (sk.Rule("a", ("a" * 40,), action="allow"), "a"),
    "patterns of 200 words": (sk.Rule("a", patterns=tuple(rf"\bw{n}\b" for n in range(200))), "w1 "),
    "what a pattern takes too long for": (sk.Rule("a", patterns=("(a+)+b",), fail="open", seconds=0.001), "a"),
}


@pytest.mark.parametrize(("rule", "text"), HARD.values(), ids=HARD.keys())
def test_hard_rules_take_linear_time(rule: sk.Rule, text: str) -> None:
    stage = sk.Moderate((rule, sk.Rule("b", ("never said",))), max_hold_chars=None)

    def read(number: int) -> None:
        events = [sk.TextDelta(text)] * number
        passed = list(stage.run(iter(events), clock=lambda: 0.0))
        assert passed

    assert growth(read, KIB) < LINEAR


def test_many_matches_in_one_call_of_a_tool_take_linear_time() -> None:
    stage = sk.Moderate(sk.Rule("a", ("heron",), replacement="*"))

    def read(number: int) -> None:
        events = [sk.ToolCallDelta(0, "c", "f", '["'), *[sk.ToolCallDelta(arguments="a heron,")] * number]
        *_, call = stage.run(iter([*events, sk.ToolCallDelta(arguments='"]'), sk.StreamEnd("tool_calls")]))
        assert isinstance(call, sk.StreamEnd)

    assert growth(read, KIB // 2) < LINEAR


@pytest.mark.parametrize("quote", ["a heron 100", "a heron " * 50], ids=["one", "what looks like many"])
def test_a_citation_costs_no_more_after_many_texts_were_withheld(quote: str) -> None:
    citation, rule = (
        sk.events.Annotation({"text": quote + "!"}),
        sk.Rule("a", patterns=(r"heron \d+,",), replacement="*"),
    )

    def read(withheld: int) -> Callable[[], object]:
        texts = [sk.TextDelta(f"a heron {100_000 + number}, ") for number in range(withheld)]
        run = sk.Moderate(rule).fresh()
        run.feed_all([*texts, citation])
        return lambda: [run.feed(citation) for _ in range(20)]

    assert seconds(read(3_200)) / seconds(read(100)) < 16


def test_the_length_of_a_periodic_phrase_costs_nothing_per_delta() -> None:
    events = [sk.TextDelta("aaaa")] * 2_000

    def reading(length: int) -> Callable[[], object]:
        stage = sk.Moderate(sk.Rule("a", ("a" * length + "b",)), max_hold_chars=None)
        return lambda: list(stage.run(iter(events)))

    assert seconds(reading(3_200)) / seconds(reading(400)) < 4


@pytest.mark.anyio
async def test_a_stream_takes_time_linear_in_the_number_of_its_reads() -> None:
    async def reads(number: int) -> float:
        start = process_time()
        items = [item async for item in iter([b"x\n"] * number) | sk.sse.Lines()]
        assert len(items) == number
        return process_time() - start

    small = min([await reads(500) for _ in range(3)])
    assert min([await reads(4000) for _ in range(3)]) / small < LINEAR


# Limits


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_line_beyond_the_limit_is_an_error_after_the_lines_before_it(size: int) -> None:
    body = b"one\ntwo\n" + b"x" * 11 + b"\nfour\n"
    run = sk.sse.Lines(max_line_bytes=10).run(body[at : at + size] for at in range(0, len(body), size))

    assert [next(run), next(run)] == ["one", "two"]
    with pytest.raises(
        sk.errors.LimitExceeded, match=r"line 3, at byte 8: expected at most 10 bytes .*max_line_bytes"
    ) as caught:
        next(run)
    assert (caught.value.line, caught.value.offset) == (3, 8)


def test_a_line_of_just_the_limit_passes() -> None:
    assert list(sk.sse.Lines(max_line_bytes=10).run([b"x" * 10, b"\n", b"y" * 10, b"\r", b"\nz"])) == [
        "x" * 10,
        "y" * 10,
        "z",
    ]


@pytest.mark.parametrize("in_one", [True, False], ids=["one burst", "line by line"])
def test_an_event_beyond_the_limit_is_an_error_after_the_events_before_it(in_one: bool) -> None:
    lines = ["data: one", "", "data: 12345", "data: 67890", "", "data: three", ""]
    run = sk.Parse(max_event_bytes=20).run(lines if in_one else iter(lines))

    assert next(run).data == "one"
    with pytest.raises(sk.errors.LimitExceeded, match=r"line 4: expected at most 20 .*max_event_bytes"):
        next(run)


@pytest.mark.anyio
async def test_the_limit_is_the_streams_end() -> None:
    stream = (sk.sse.Lines(max_line_bytes=10) | sk.Parse() | sk.Extract()).open([b"x" * 11])

    with pytest.raises(sk.errors.LimitExceeded):
        await anext(stream)
    assert stream.end == sk.StreamEnd("limit")


def endless(read: list[int]) -> Iterator[bytes]:
    while True:
        read.append(64 * KIB)
        yield b"x" * (64 * KIB)


def test_of_a_line_that_never_ends_no_more_is_read_than_the_limit_and_one_piece() -> None:
    read: list[int] = []

    with pytest.raises(sk.errors.LimitExceeded):
        list((sk.sse.Lines(max_line_bytes=MIB) | sk.Parse() | sk.Extract()).run(endless(read)))

    assert sum(read) <= MIB + 64 * KIB


def test_an_answer_that_is_passed_on_takes_no_memory() -> None:
    pipeline = sk.Parse() | sk.Extract() | sk.Moderate(sk.Rule("a", ("never said",))) | sk.Count("gpt-4o")

    def peak(events: Iterable[bytes]) -> int:
        tracemalloc.start()
        try:
            assert sum(isinstance(event, sk.TextDelta) for event in pipeline.run(events)) > 0
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    body = [chunk(f"word{number % 7} ") for number in range(100)]
    peak(iter(body))  # load everything that is loaded once

    assert peak(piece for _ in range(4) for piece in body) < peak(iter(body)) + 16 * KIB


def test_by_default_there_are_limits() -> None:
    assert sk.sse.Lines().max_line_bytes == 16 * MIB
    assert sk.Parse().max_event_bytes == 16 * MIB


@pytest.mark.parametrize(
    "kind", ["calls", "calls without arguments", "citations", "places in bytes", "finishes", "choices"]
)
def test_emit_takes_time_linear_in_what_it_completes_at_the_end_of_a_choice(kind: str) -> None:
    support = {"segment": {"startIndex": 1, "endIndex": 3}, "groundingChunkIndices": [0]}
    source = {"web": {"uri": "https://a.b/c", "title": "T"}}

    def write(size: int) -> None:
        events: dict[str, list[sk.Event]] = {
            "calls": [sk.ToolCallDelta(number, None, "f", "{}") for number in range(size)],
            "calls without arguments": [sk.ToolCallDelta(number, None, "f") for number in range(size)],
            "citations": [sk.events.Annotation({"url": f"https://a.b/{number}"}) for number in range(size)],
            "places in bytes": [
                sk.events.ResponseDetails(shape="gemini"),
                sk.TextDelta("ü" * size),
                *(
                    sk.events.Annotation({"groundingChunks": [source], "groundingSupports": [support]})
                    for _ in range(size)
                ),
            ],
            "finishes": [
                sk.ToolCallDelta(0, "call_1", "f"),
                *(sk.Finish(("stop", "length")[n % 2]) for n in range(size)),
            ],
            "choices": [sk.TextDelta("a", number) for number in range(size)],
        }
        items = [*events[kind], sk.Finish("stop"), sk.StreamEnd("completed")]
        assert len(list(sk.Emit().feed_all(items))) > 2

    assert growth(write, 400) < LINEAR
