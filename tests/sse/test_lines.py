"""Lines: only CR, LF and CRLF end a line, wherever the bytes are cut."""

import re
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamkit.errors import LimitExceeded
from streamkit.sse import Lines
from streamkit.sse.lines import UnfinishedLine

# Relevant bytes: line ends, parts of a BOM, complete and broken characters, and separators at which other splitters split.
FRAGMENTS = [
    *(b"\r", b"\n", b"\r\n", b"a", b" ", b"\0", b"\xef", b"\xbb", b"\xbf", b"\xef\xbb\xbf", b"\xc3", b"\xa9", b"\xff"),
    *(b"\v", b"\f", b"\x1c", b"\x85", "\u0085".encode(), "\u2028".encode(), "\u2029".encode(), "\U0001f469".encode()),
]
BYTES = st.lists(st.sampled_from(FRAGMENTS), max_size=30).map(b"".join)


def split(*pieces: bytes | str, max_line_bytes: int = 1000) -> list[str]:
    return list(Lines(max_line_bytes=max_line_bytes).run(pieces))


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    bounds = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(bounds)]


def reference(data: bytes) -> list[str]:
    """WHATWG HTML 9.2.5, read literally: decode, drop one BOM, then `end-of-line = CRLF / CR / LF`."""
    text = data.decode("utf-8", "replace").removeprefix("\ufeff")
    lines = re.split("\r\n|\r|\n", text)
    return lines if lines[-1] else lines[:-1]


@pytest.mark.parametrize(
    ("body", "lines"),
    [
        (b"", []),
        (b"\n", [""]),
        (b"a\n", ["a"]),
        (b"a\nb\n", ["a", "b"]),
        (b"a\r\nb\r\n", ["a", "b"]),
        (b"a\rb\r", ["a", "b"]),
        (b"a\n\nb\r\n\r\nc\r\r", ["a", "", "b", "", "c", ""]),
        (b"a\n\rb\n", ["a", "", "b"]),
        (b"a\r\r\nb\n", ["a", "", "b"]),
        (b"a", ["a"]),
        (b"a\nb", ["a", "b"]),
        (b"\xef\xbb\xbfa\n", ["a"]),
        (b"\xef\xbb\xbf\n", [""]),
        (b"\xef\xbb\xbf", []),
        (b"\xef\xbb\xbf\xef\xbb\xbfa\n", ["\ufeffa"]),
        (b"a\n\xef\xbb\xbfb\n", ["a", "\ufeffb"]),
        (b"a\xef\xbb\xbf\n", ["a\ufeff"]),
        (b"a\0b\n", ["a\0b"]),
        (b"\xff\xfe\n", ["\ufffd\ufffd"]),
        (b"\xe2\x82\na\n", ["\ufffd", "a"]),
        (b"a\xe2\x82", ["a\ufffd"]),
    ],
    ids=[
        "nothing",
        "one line feed",
        "LF",
        "two with LF",
        "CRLF",
        "CR",
        "blank lines of each kind",
        "LF CR is two ends",
        "CR CRLF is two ends",
        "no end",
        "the last without an end",
        "a BOM",
        "only a BOM in a line",
        "only a BOM",
        "of two BOMs one is dropped",
        "a BOM in a later line stays",
        "a BOM inside a line stays",
        "NUL",
        "malformed bytes",
        "a character cut short by a line end",
        "a character cut short by the end of the body",
    ],
)
def test_lines_come_without_their_ends(body: bytes, lines: list[str]) -> None:
    assert split(body) == lines
    assert split(*[body[at : at + 1] for at in range(len(body))]) == lines


@pytest.mark.parametrize("separator", list("\v\f\x1c\x1d\x1e\x85\u2028\u2029"), ids=ascii)
def test_what_other_splitters_split_on_does_not_end_a_line(separator: str) -> None:
    text = f"a{separator}b"

    assert len(text.splitlines()) == 2
    assert split(f"{text}\n".encode()) == [text]


@pytest.mark.parametrize(
    "pieces",
    [
        (b"\xef", b"\xbb", b"\xbfa\n"),
        (b"a\r", b"\n"),
        (b"a\r", b"", b"\n"),
        (b"", b"a", b"", b"\n", b""),
    ],
    ids=["a BOM in three pieces", "CRLF in two", "CRLF with an empty piece between", "empty pieces around"],
)
def test_cuts_inside_do_not_show(pieces: tuple[bytes, ...]) -> None:
    assert split(*pieces) == ["a"]


def test_a_line_feed_belongs_to_a_carriage_return_only_right_after_it() -> None:
    assert split(b"a\rb", b"\nc\n") == ["a", "b", "c"]


def test_a_character_may_come_in_pieces() -> None:
    assert split(b"\xf0", b"\x9f", b"\x98", b"\x80\n") == ["😀"]


def test_a_line_is_given_as_soon_as_the_byte_that_ends_it_is_there() -> None:
    lines = Lines().fresh()

    assert list(lines.feed(b"a\r")) == ["a"]
    assert list(lines.feed(b"\nb")) == []
    assert list(lines.feed(b"\r")) == ["b"]
    assert list(lines.feed(b"\r")) == [""]


def test_only_a_line_without_an_end_is_marked_as_unfinished() -> None:
    given_lines = split(b"a\nb")

    assert [type(line) for line in given_lines] == [str, UnfinishedLine]


@pytest.mark.parametrize(
    "piece", ["å\n", bytearray("å\n".encode()), memoryview("å\n".encode())], ids=lambda p: type(p).__name__
)
def test_a_piece_may_be_of_any_kind_of_bytes_or_text(piece: str | bytearray | memoryview) -> None:
    assert list(Lines().run([piece])) == ["å"]


def test_text_with_a_lone_surrogate_is_malformed_and_does_no_harm_to_the_lines_around_it() -> None:
    assert split("a\n\ud83d\nb\n") == ["a", "\ufffd\ufffd\ufffd", "b"]


@settings(deadline=None, max_examples=300)
@given(BYTES)
def test_an_independent_splitter_gives_the_same_lines(data: bytes) -> None:
    assert split(data) == reference(data)


@settings(deadline=None, max_examples=300)
@given(BYTES, st.lists(st.integers(0, 200), max_size=8))
def test_any_cut_gives_the_same_lines(data: bytes, places: list[int]) -> None:
    assert split(*cut(data, places)) == split(data)


@settings(deadline=None, max_examples=300)
@given(BYTES, st.lists(st.integers(0, 200), max_size=8))
def test_any_cut_meets_a_limit_at_the_same_place(data: bytes, places: list[int]) -> None:
    assert outcome(cut(data, places)) == outcome([data])


def outcome(pieces: list[bytes]) -> tuple[list[str], str]:
    """The lines before the limit of four bytes, and the message of the error."""
    run, lines = Lines(max_line_bytes=4).run(pieces), list[str]()
    try:
        lines.extend(run)
    except LimitExceeded as error:
        return lines, str(error)
    return lines, ""


@pytest.mark.parametrize(
    "pieces",
    [
        [b"ab\r\nabcde\nc\n"],
        [b"ab\r\nabcde"],
        [b"ab\r", b"\nabcde"],
        [b"ab\r\nabc", b"d", b"e", b"\nc\n"],
        [bytes([byte]) for byte in b"ab\r\nabcde\nc\n"],
    ],
    ids=["in one piece", "no end yet", "after a CRLF in two pieces", "growing", "byte by byte"],
)
def test_a_line_over_the_limit_raises_after_the_lines_before_it(pieces: list[bytes]) -> None:
    run = Lines(max_line_bytes=4).run(pieces)

    assert next(run) == "ab"
    with pytest.raises(
        LimitExceeded, match=r"^line 2, at byte 4: expected at most 4 bytes in a line \(max_line_bytes\), found"
    ):
        next(run)


def test_the_error_of_a_limit_says_where_and_quotes_nothing() -> None:
    with pytest.raises(LimitExceeded) as caught:
        split(b"a\nsecret", max_line_bytes=3)

    assert (caught.value.line, caught.value.offset) == (2, 2)
    assert "secret" not in repr(caught.value)


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n", b""], ids=["LF", "CR", "CRLF", "no end"])
def test_the_end_of_a_line_does_not_count_towards_the_limit(end: bytes) -> None:
    assert split(b"abcd" + end, max_line_bytes=4) == ["abcd"]


def test_many_short_lines_may_come_in_one_long_piece() -> None:
    assert split(b"ab\n" * 1000, max_line_bytes=2) == ["ab"] * 1000
