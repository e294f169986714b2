"""Parse: the same events as a browser's EventSource, and bodies that are not event streams."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate, chain, pairwise, repeat, takewhile

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streamkit import Parse, StreamkitError
from streamkit.errors import LimitExceeded, ProtocolError
from streamkit.sse import JsonBody, Lines, ServerSentEvent, UnfinishedEvent
from streamkit.sse.events import Comment

STRICT = Parse(strict=True)


def parse(body: str, stage: Parse | None = None) -> list[ServerSentEvent]:
    """The events of a body. Checks that bytes, whole and one by one, text, and the output of `Lines` give the same events."""
    stage, data = stage or Parse(), body.encode()
    found = list(stage.run([data]))
    assert list(stage.run(iter([data[at : at + 1] for at in range(len(data))]))) == found
    assert list(stage.run(iter(body))) == found
    assert list((Lines() | stage).run([data])) == found
    return found


@dataclass
class EventSource:
    """A literal implementation of WHATWG HTML 9.2.6, "Interpreting an event stream"."""

    data: str = ""
    type: str = ""
    last_event_id_buffer: str = ""
    last_event_id: str = ""
    reconnection_time: int | None = None
    fired: list[tuple[str, str, str]] = field(default_factory=list[tuple[str, str, str]])

    def line(self, line: str) -> None:
        if line == "":
            self.dispatch()
        elif line[0] == ":":
            pass
        elif ":" in line:
            at = line.index(":")
            value = line[at + 1 :]
            self.process(line[:at], value[1:] if value[:1] == " " else value)
        else:
            self.process(line, "")

    def process(self, field: str, value: str) -> None:
        if field == "event":
            self.type = value
        elif field == "data":
            self.data += value + "\n"
        elif field == "id" and "\0" not in value:
            self.last_event_id_buffer = value
        elif field == "retry" and value and all(digit in "0123456789" for digit in value):
            self.reconnection_time = int(value)

    def dispatch(self) -> None:
        self.last_event_id = self.last_event_id_buffer
        if self.data:
            self.fired.append((self.type or "message", self.data[:-1], self.last_event_id))
        self.data = self.type = ""


REGULAR = st.builds(lambda text: ["data: " + text, ""], st.sampled_from(["", "x", "{}", " y", ":", "[DONE]"]))
ODD = st.builds(
    lambda *parts: ["".join(parts)],
    st.sampled_from(["data", "event", "id", "retry", "Data", "data ", "", "x", "\ufeffdata"]),
    st.sampled_from(["", ":", ": ", ":  ", " :"]),
    st.sampled_from(["", "a", "a:b", "\0", "7", "07", "-7", "+7", "1_0", "٣", "²", " "]),
)
BEGUN = st.sampled_from([["event: x"], ["id: 7"], ["retry: 5"], ["data: z"], [""]])
BLOCKS = st.lists(st.one_of(REGULAR, REGULAR, BEGUN, ODD), min_size=1, max_size=3)
# Lines grouped into reads, which often end at the end of a block.
BURSTS = st.lists(BLOCKS.map(lambda blocks: list(chain.from_iterable(blocks))), max_size=8)


@settings(deadline=None, max_examples=500)
@given(BURSTS)
def test_the_standards_own_words_give_the_same_events(bursts: list[list[str]]) -> None:
    standard, stage = EventSource(), Parse(strict=True).fresh()

    # The last, empty text proves that texts without line ends are lines.
    bursts = [*bursts, [""]]
    for line in chain.from_iterable(bursts):
        standard.line(line)
    events = [event for burst in bursts for event in stage.feed_all(burst)]

    assert [(event.event, event.data, event.id) for event in events] == standard.fired
    assert (stage.last_event_id, stage.retry) == (standard.last_event_id, standard.reconnection_time)


LINE_ENDS = st.sampled_from(["\n", "\r", "\r\n"])
BODIES = st.lists(st.tuples(BLOCKS, LINE_ENDS), max_size=4).map(
    lambda parts: "".join(line + end for blocks, end in parts for block in blocks for line in block)
)


@settings(deadline=None, max_examples=500)
@given(BODIES, st.lists(st.integers(0, 200)), st.integers(5, 40), st.booleans())
@example("data: a\n\nretry: 5\rdata: b\n\n", [17], 40, False)
@example("data: a\n\n\n\ndata: b\n\n", [], 40, True)
@example("data: a\n\nevent: x\ndata: b\nid: 7\n\ndata: c\n\n", [9], 40, False)
def test_bytes_in_any_pieces_are_what_their_lines_are(body: str, cuts: list[int], limit: int, strict: bool) -> None:
    """Neither the fast path for whole blocks nor the cuts change the result."""
    stage, data = Parse(strict=strict, max_event_bytes=limit), body.encode()
    pieces = [data[start:end] for start, end in pairwise([0, *sorted(cuts), len(data)])]

    assert outcome(stage, pieces) == outcome(stage, [data[at : at + 1] for at in range(len(data))])
    lines = list(Lines().run([data]))
    # Without a blank line texts are not known to be lines, and limits are reached at other places.
    if "" in lines and "LimitExceeded" not in outcome(stage, lines):
        assert outcome(stage, pieces) == outcome(stage, lines)


def outcome(stage: Parse, items: Sequence[bytes | str]) -> list[object]:
    """The events, the values that the stream has set, and the error that ended it."""
    run = stage.run(iter(items))
    found: list[object] = []
    try:
        found.extend(run)
    except StreamkitError as error:
        return [*found, type(error).__name__, str(error)]
    return [*found, run.stage(Parse).last_event_id, run.stage(Parse).retry]


def test_an_event_that_sets_the_reconnection_time_has_it_and_later_ones_do_not() -> None:
    events = parse("retry: 1500\ndata: a\n\ndata: b\n\n")

    assert [event.retry for event in events] == [1500, None]


def test_an_event_is_given_with_the_byte_that_ends_its_block() -> None:
    run = (Lines() | Parse()).run(iter([b"data: a\r\r", b"data: b\n\n"]))

    assert next(run) == ServerSentEvent.of("a")


@pytest.mark.parametrize(
    ("body", "id"),
    [("id: 7\ndata: a\n\n: alive\n\ndata: b\n\n", "7"), ("id: 7\n\nid\ndata: a\n\ndata: b\n\n", "")],
    ids=["it persists, and a keep-alive fires nothing", "an empty one resets it"],
)
def test_the_last_event_id(body: str, id: str) -> None:
    run = (Lines() | Parse()).run([body])

    assert [(event.data, event.id) for event in run] == [("a", id), ("b", id)]
    assert run.stage(Parse).last_event_id == id


def test_a_resumed_stream_begins_with_the_last_event_id_it_is_given() -> None:
    run = (Lines() | Parse(resume_from="41")).run(["data: a\n\nid: 42\ndata: b\n\n"])

    assert [event.id for event in run] == ["41", "42"]
    assert run.stage(Parse).last_event_id == "42"


def test_comments_come_as_events_only_where_they_are_asked_for() -> None:
    body = ": one\ndata: a\n:two\n\n"

    assert parse(body) == [ServerSentEvent.of("a")]
    assert parse(body, Parse(comments=True)) == [
        Comment("comment", text=" one"),
        Comment("comment", text="two"),
        ServerSentEvent.of("a"),
    ]


# Incomplete events at the end of the body

CUT = "data: a\n\nevent: x\ndata: b\ndata: c"


def test_an_unfinished_event_is_returned_as_one_and_discarded_by_an_event_source() -> None:
    assert parse(CUT) == [ServerSentEvent.of("a"), UnfinishedEvent.of("b\nc", "x")]
    assert parse(CUT, STRICT) == [ServerSentEvent.of("a")]


@pytest.mark.parametrize("body", ["data: b\n", "data: b"], ids=["without its blank line", "without its line end"])
def test_an_unfinished_event_without(body: str) -> None:
    assert parse(body) == [UnfinishedEvent.of("b")]
    assert parse(body, STRICT) == []


@pytest.mark.parametrize("line", ["event: x", ": comment", "id: 7", ""], ids=["event", "comment", "id", "blank"])
def test_an_end_within_a_block_without_data_gives_nothing(line: str) -> None:
    assert parse(f"data: a\n\n{line}", Parse()) == [ServerSentEvent.of("a")]


def test_an_event_source_does_not_look_at_a_line_without_its_end() -> None:
    run = (Lines() | STRICT).run(["data: a\n\nid: 7"])

    assert [event.data for event in run] == ["a"]
    assert run.stage(Parse).last_event_id == ""


# Bodies that are JSON


@pytest.mark.parametrize(
    ("body", "documents"),
    [
        ('{"a": 1}', ['{"a": 1}']),
        ('{"a": 1}\n', ['{"a": 1}']),
        ('\n \n  {"a": 1}\r\n', ['  {"a": 1}']),
        ("[1]", ["[1]"]),
        ('{\n  "a":\n\n  1\n}\n', ['{\n  "a":\n\n  1\n}']),
        ('{"a":1}\n{"a":2}\r\n\n{"a":3}', ['{"a":1}', '{"a":2}', '{"a":3}']),
        ('{"a":1}\n{"a"', ['{"a":1}', '{"a"']),
        ('{"data: x": 1}\n\n', ['{"data: x": 1}']),
    ],
    ids=[
        "without a line end",
        "in one line",
        "after blank lines",
        "a list",
        "in many lines, one of them blank",
        "one a line",
        "the last one cut short",
        "that mentions a field",
    ],
)
def test_a_json_body_is_its_documents(body: str, documents: list[str]) -> None:
    expected = [JsonBody.of(document) for document in documents]

    assert parse(body, Parse()) == expected


def test_a_json_body_is_unknown_fields_to_an_event_source() -> None:
    assert parse('{"a": 1}\n\ndata: x\n\n', STRICT) == [ServerSentEvent.of("x")]


def test_json_that_comes_later_in_an_event_stream_is_an_unknown_field() -> None:
    assert parse('data: x\n\n{"a": 1}\n\n', Parse()) == [ServerSentEvent.of("x")]


def test_a_page_is_an_error_whose_message_does_not_hold_its_text() -> None:
    run = (Lines() | Parse()).run(["\n<!DOCTYPE html>\n<p>Sorry, Alice"])

    with pytest.raises(ProtocolError, match=r"^line 2: expected an event stream or JSON, found a page") as caught:
        list(run)
    assert caught.value.line == 2
    assert "Alice" not in str(caught.value)


TEXTS = {
    "words": ("upstream connect error", 1),
    "lines": ("\n\nInternal Server Error\nSorry\n", 3),
    "another protocol": ('0:"Hello"\n0:" world"\nd:{}\n', 1),
    "a JSON text": ('"Hello"', 1),
    "fields that nobody knows": ("foo: bar\n\nbaz: 1\n\n", 1),
    "a field that is another one": ("dater: x\n\n", 1),
    "bytes": ("\x00\x00\x01garbage", 1),
}


@pytest.mark.parametrize(("body", "line"), TEXTS.values(), ids=TEXTS)
def test_text_without_any_event_is_an_error_when_extract_follows_and_is_not_in_the_message(
    body: str, line: int
) -> None:
    for pieces in ([body], list(body)):
        run = (Lines() | Parse()).run(iter(pieces))
        with pytest.raises(
            ProtocolError, match=rf"^line {line}: expected an event stream or JSON, found \d+ characters"
        ) as caught:
            list(run)
        assert caught.value.line == line
        assert "Hello" not in str(caught.value)
        assert caught.value.excerpt


@pytest.mark.parametrize("body", TEXTS.values(), ids=TEXTS)
def test_to_an_event_source_it_is_nothing(body: tuple[str, int]) -> None:
    assert parse(body[0], Parse(strict=True)) == []


@pytest.mark.parametrize("before", ["HTTP/1.1 200 OK\n", "1a\n", "foo: bar\n\n"])
def test_events_behind_text_are_events(before: str) -> None:
    assert parse(before + "data: x\n\n", Parse()) == [ServerSentEvent.of("x")]
    assert parse(before + "data: x", Parse()) == [UnfinishedEvent.of("x")]


@pytest.mark.parametrize(
    "body", ["", "\n", "d", "dat", "ev", "retr", "i", ":", "data", "data:", "id: 7\n\n", "event: x\n", "retry: 1\n\n"]
)
def test_what_may_be_the_beginning_of_an_event_stream_is_no_error(body: str) -> None:
    assert [event for event in parse(body, Parse()) if event.data] == []


# Limits


def said(stage: Parse, lines: Sequence[str]) -> list[str]:
    """The data of the events before a limit was exceeded, then the number of the line where it was exceeded."""
    run, found = stage.run(lines), list[str]()
    try:
        found.extend(event.data for event in run)
    except LimitExceeded as error:
        found.append(f"limit in line {error.line}")
    return found


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["data: 12345", ""], ["12345"]),
        (["data: a", "", "data: 123456", ""], ["a", "limit in line 3"]),
        (["data: a", "", "data:1", "data:2", "data:3", ""], ["a", "limit in line 4"]),
        (["data"] * 2 + [""] + ["data"] * 3, ["\n", "limit in line 6"]),
        ([": alive"] * 100 + ["data: 12345", ""], ["12345"]),
        (["event: long", "id: long id", "data: 12345", ""], ["12345"]),
    ],
    ids=[
        "at the limit",
        "over it",
        "over it in several lines",
        "data that is empty counts too",
        "comments do not count",
        "neither does what replaces itself",
    ],
)
def test_the_limit_of_an_event(lines: list[str], expected: list[str]) -> None:
    assert said(Parse(max_event_bytes=11), lines) == expected
    assert said(Parse(max_event_bytes=11), tuple(iter(lines))) == expected


def test_the_limit_holds_for_a_json_body_too() -> None:
    with pytest.raises(
        LimitExceeded, match=r"^line 2: expected at most 8 bytes in an event \(max_event_bytes\), found more\b"
    ):
        parse("{\n 1234,\n 5678\n", Parse(max_event_bytes=8))


def test_blank_lines_before_the_first_event_count_as_lines() -> None:
    with pytest.raises(LimitExceeded) as caught:
        list(Parse(max_event_bytes=8).run(iter(["", "", "data: 1234"])))

    assert caught.value.line == 3


def test_json_nested_without_end_is_passed_on_for_its_reader_to_refuse() -> None:
    body = "[" * 100_000

    assert parse(body, Parse()) == [JsonBody.of(body)]


HEADS = ["data: 1\n\n", "event: a\ndata: 2\n\n", "event: a\ndata: 3\n\n", "event: b\ndata: 4\n\n", "data: 5\n\n"]
ODD = [
    "event: a\ndata:6\n\n",
    "event: a\n\n",
    "event: \ndata: 7\n\n",
    "event: a\ndata: 8\ndata: 9\n\n",
    "event: a\r\ndata: 10\r\n\r\n",
    "event: a\nid: 5\ndata: 11\n\n",
    f"event: {'a' * 200}\ndata: 12\n\n",
    "event: a\ndata: \n\n",
    "event: a\ndata: 13\n",
    "\n",
    ": ping\n\n",
]


@pytest.mark.parametrize("odd", ODD)
def test_events_one_in_a_read_are_those_of_the_whole_whatever_they_begin_with(odd: str) -> None:
    pieces = [piece.encode() for piece in [*HEADS, odd, *HEADS, odd, odd, *HEADS]]
    one_by_one, whole = list(Parse().run(iter(pieces))), list(Parse().run([b"".join(pieces)]))
    assert [(event.event, event.data, event.id) for event in one_by_one] == [
        (event.event, event.data, event.id) for event in whole
    ]


BLOCKS_OF_ALL_KINDS = st.lists(st.sampled_from([*HEADS * 3, *ODD, "id: 6\n\n", "retry: 7\n", "\r\n", "\rdata: 14\r"]))


@settings(deadline=None, max_examples=150)
@given(BLOCKS_OF_ALL_KINDS, st.lists(st.integers(0, 400), max_size=4))
@example([*HEADS[1:3] * 4, "event: a\nid: 5\ndata: 11\n\n", *HEADS[1:3] * 4], [])
@example(["event: a\ndata: 13\n", *HEADS * 2], [20])
def test_large_reads_are_what_their_bytes_are_one_by_one(blocks: list[str], cuts: list[int]) -> None:
    """The line at which the limit is exceeded shows that both count lines in the same way."""
    stage, data = Parse(max_event_bytes=1_000), "".join([*blocks, "data: " + "x" * 1_001]).encode()
    pieces = [data[start:end] for start, end in pairwise([0, *sorted(cuts), len(data)])]

    assert outcome(stage, pieces) == outcome(stage, [data[at : at + 1] for at in range(len(data))])


@settings(deadline=None, max_examples=200)
@given(BLOCKS_OF_ALL_KINDS, st.lists(st.integers(1, 30), min_size=1), st.integers(20, 200), st.booleans())
@example(["event: a\n\n"], [7], 1_000, True)
def test_short_reads_cut_anywhere_are_what_the_characters_of_the_text_are(
    blocks: list[str], sizes: list[int], limit: int, comments: bool
) -> None:
    """The fast path for short pieces does not change the result: text is parsed without it."""
    body = "\n" + "".join(blocks)
    cuts = accumulate(chain.from_iterable(repeat(sizes)))
    edges = [0, *takewhile(lambda cut: cut < len(body), cuts), len(body)]
    stage = Parse(comments=comments, max_event_bytes=limit)
    pieces = [body[start:end] for start, end in pairwise(edges)]

    expected = outcome(stage, list(body))
    assert outcome(stage, [piece.encode() for piece in pieces]) == expected
    assert outcome(stage, pieces) == expected


def test_the_beginning_of_an_event_in_short_reads_counts_as_bytes_without_an_event() -> None:
    stage, first = Parse(max_bytes_without_event=20), b"data: 1\n\n"
    twenty = [bytes([byte]) for byte in b"data: 78901234567890"]

    assert outcome(stage, [first, *twenty])[1:] == [UnfinishedEvent("message", b"78901234567890"), "", None]
    assert outcome(stage, [first, *twenty, b"1"])[1:] == [
        "LimitExceeded",
        "line 3: expected an event within 20 bytes (max_bytes_without_event), found none",
    ]
