"""Any bytes give events or a typed error, and nothing else, and the same for every cutting.

`make test` tries a few hundred; `make fuzz` a hundred thousand for each property (FUZZ_EXAMPLES).
"""

import os
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import streamkit as sk

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "300"))
thorough = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))

CHUNK = '{"id":"c1","object":"chat.completion.chunk","choices":[{"index":0,"delta":%s}]}'
FRAGMENTS = [
    b"\n", b"\r", b"\r\n", b"\n\n",
    b":", b": ping", b"data", b"data:", b"data: ", b"event: ", b"event: error", b"id: 7", b"id:\0",
    b"retry: 10", b"retry: 99999999999999999999999", b" ", b"\xef\xbb\xbf", b"\xff", b"\xe2\x98", "☃\u2028\x85".encode(),
    b"[DONE]", b"data: [DONE]\n\n", b"{", b"}", b"[", b'"', b"\\", b"\0", b"<html>", b"null", b"1e999", b"NaN",
    b"[{", b'[{"a":1}', b",", b'{"b":"}{"}', b"]", b'[{"candidates":[]},',
    b'data: {"error":{"message":"no","code":500}}\n\n', b'data: {"choices":null}\n\n', b'data: {"choices":[null,1,{}]}\n\n',
    b"data: " + b"[" * 2000 + b"\n\n",
    b"data: " + (CHUNK % '{"content":"Hello"}').encode() + b"\n\n",
    b"data: " + (CHUNK % '{"content":"a\\"b\\\\"}').encode() + b"\n\n",
    b"data: " + (CHUNK % '{"content":"\\ud83d"}').encode() + b"\n\n",
    b"data: " + (CHUNK % '{"role":"assistant","content":["x",{"text":"y"}]}').encode() + b"\n\n",
    b"data: " + (CHUNK % '{"tool_calls":[{"index":"0","function":{"arguments":{}}}]}').encode() + b"\n\n",
    b"data: " + (CHUNK % '{"tool_calls":[{"index":0,"function":{"arguments":"ab"}}]}').encode() + b"\n\n",
]  # fmt: skip
ANY = st.lists(st.sampled_from(FRAGMENTS) | st.binary(max_size=6), max_size=14).map(b"".join)
bodies = ANY | ANY.map(lambda body: b"[{" + body) | ANY.map(lambda body: b"[" + body)
cuts = st.lists(st.integers(0, 400), max_size=12)

READERS = {
    "lines": sk.sse.Lines(),
    "lines, strict": sk.sse.Lines(errors="strict", max_line_bytes=300),
    "as EventSource": sk.sse.Lines() | sk.Parse(strict=True, comments=True),
    "small limits": sk.sse.Lines(max_line_bytes=40) | sk.Parse(max_event_bytes=30),
    "bytes": sk.Parse(comments=True),
    "bytes, small limits": sk.Parse(max_event_bytes=30, max_bytes_without_event=200),
    "JSON, small limits": sk.Parse(max_event_bytes=30),
    "lines of JSON, small limits": sk.sse.Lines(max_line_bytes=40) | sk.Parse(max_event_bytes=30),
    "completion": sk.sse.Lines() | sk.Parse() | sk.Extract() | sk.Accumulate(),
    "moderated": sk.sse.Lines() | sk.Parse() | sk.Extract() | sk.Moderate(sk.Rule("x", phrases=("hel", "lohe"))),
}


def read(reader: Any, pieces: list[bytes]) -> tuple[list[object], str | None]:
    """The events, and the error if any. An error outside the tree fails the test."""
    seen: list[object] = []
    try:
        for item in reader.run(iter(pieces)):
            # Events before an error must be kept. Withheld text may be released with the delta after it.
            last = seen[-1] if seen else None
            if isinstance(item, sk.TextDelta) and isinstance(last, sk.TextDelta) and item.index == last.index:
                seen[-1] = sk.TextDelta(last.text + item.text, item.index)
            else:
                seen.append(item)
    except sk.StreamkitError as error:
        return seen, f"{type(error).__name__}: {error}"
    return seen, None


@pytest.mark.parametrize("name", READERS)
@thorough
@given(body=bodies, at=cuts)
@example(body=b"data: [DONE]\n\ndata: x\n\n", at=[3, 20])
@example(body=b"\xef\xbb\xbfdata: x\r\n\r\n", at=[1, 2, 11])
@example(body=b"[{}\0", at=[3])
@example(body=b" [DONE]", at=[1])
@example(body=b"\xef\xbb\xbf [1]", at=[2, 4])
@example(body=b"[{}data: {}\n\n", at=[3])
@example(body=b"<html>" + b"x" * 50, at=[40])
def test_any_bytes_give_events_or_a_typed_error_and_the_same_for_every_cutting(
    name: str, body: bytes, at: list[int]
) -> None:
    whole = read(READERS[name], [body])
    edges = [0, *sorted(min(cut, len(body)) for cut in at), len(body)]
    pieces = [body[start:end] for start, end in pairwise(edges)]
    assert read(READERS[name], pieces) == whole
    assert read(READERS[name], [body[i : i + 1] for i in range(len(body))]) == whole
