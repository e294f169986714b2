"""Alibaba Cloud's DashScope: its own API."""

from itertools import accumulate
from typing import Any

import pytest

import streamkit as sk
from streamkit.dialects import for_event
from streamkit.dialects.dashscope import DashScope
from tests.dialects.streams import DATA, Result, read, sse

CUMULATIVE = (DATA / "dashscope.sse").read_bytes()
INCREMENTAL = (DATA / "dashscope-incremental.sse").read_bytes()


def chunk(content: Any = "", word: str = "null", tokens: int = 0, **message: Any) -> dict[str, Any]:
    said = {"role": "assistant", "content": content, **message}
    usage = {"input_tokens": 3, "output_tokens": tokens, "total_tokens": 3 + tokens}
    return {"output": {"choices": [{"message": said, "finish_reason": word}]}, "usage": usage, "request_id": "r"}


def result(*chunks: dict[str, Any], **options: Any) -> Result:
    events = list[sk.Event]()
    try:
        events.extend((sk.sse.Lines() | sk.Parse() | sk.Extract(**options) | sk.Accumulate()).run([sse(*chunks)]))
    except sk.StreamkitError as error:
        return Result(events, error)
    return Result(events, None)


def test_resent_text_is_emitted_once() -> None:
    found = read(CUMULATIVE)
    choice = found.choice

    assert [event.text for event in found.of(sk.TextDelta)] == ["Grü", "ße 👩‍💻"]
    assert [event.text for event in found.of(sk.ReasoningDelta)] == ["Two", " cities."]
    assert [(c.id, c.name, c.arguments) for c in choice.tool_calls] == [("call_1", "weather", '{"city": "Zürich"}')]
    assert (choice.finish_reason, found.end.reason) == ("tool_calls", "tool_calls")
    assert found.completion.usage == sk.Usage(9, 10, 19, {"input_tokens": 9, "output_tokens": 10, "total_tokens": 19})


def test_incremental_text_is_emitted_as_received() -> None:
    found = read(INCREMENTAL)

    assert [event.text for event in found.of(sk.TextDelta)] == ["Grü", "ße", "!"]
    assert found.end == sk.StreamEnd("completed")


@pytest.mark.parametrize(
    ("pieces", "counts"),
    [
        (["Blue", " sky"], [1, 2]),
        (["ha", "ha", "ha"], [1, 2, 3]),
        (["1", "0", "1"], [1, 2, 3]),
        (["a", "b", "ab"], [1, 2, 3]),
        (["x"], [1]),
    ],
    ids=str,
)
def test_both_ways_are_distinguished(pieces: list[str], counts: list[int]) -> None:
    whole = "".join(pieces)
    last = counts[-1]
    grown = [chunk(text, tokens=n) for text, n in zip(accumulate(pieces), counts, strict=True)]

    assert result(*grown, chunk(whole, "stop", last)).choice.content == whole
    single = [chunk(text, tokens=n) for text, n in zip(pieces, counts, strict=True)]
    assert result(*single, chunk("", "stop", last)).choice.content == whole


def test_the_option_decides_if_the_stream_does_not_show_it() -> None:
    chunks = [chunk("1", tokens=1), chunk("10", tokens=2), chunk("", "stop", 2)]

    assert result(*chunks).choice.content == "10"
    assert result(*chunks, cumulative=False).choice.content == "110"
    assert result(*chunks, cumulative=True).choice.content == "10"


def test_a_text_that_differs_from_before_is_an_error_after_the_events_before_it() -> None:
    found = result(chunk("Blue"), chunk("Blue sky"), chunk("No, red"))

    assert [event.text for event in found.of(sk.TextDelta)] == ["Blue", " sky"]
    assert isinstance(found.error, sk.errors.ProtocolError)


@pytest.mark.parametrize(
    ("word", "reason"), [("stop", "completed"), ("length", "length"), ("tool_calls", "tool_calls")]
)
def test_how_an_answer_ends(word: str, reason: str) -> None:
    assert result(chunk("Hi"), chunk("Hi", word)).end.reason == reason


def test_without_a_finish_reason_it_is_truncated() -> None:
    found = result(chunk("Hi"), chunk("Hi there"))

    assert found.end == sk.StreamEnd("truncated", open_choices=(0,))
    assert found.choice.finish_reason is None


def test_a_call_without_arguments_has_an_empty_object() -> None:
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}

    found = result(chunk(tool_calls=[call]), chunk(word="tool_calls", tool_calls=[call]))

    assert [(c.id, c.name, c.arguments) for c in found.choice.tool_calls] == [("c", "f", "{}")]


def test_content_may_be_a_list_of_parts() -> None:
    found = result(
        chunk([{"text": "Blue"}]), chunk([{"text": " sky"}, {"image": "https://example.com/i"}]), chunk([], "stop")
    )

    assert found.choice.content == "Blue sky"
    assert found.notices("image") == [{"image": "https://example.com/i"}]
    assert found.completion.to_dict()["output"]["choices"][0]["message"]["content"] == [{"text": "Blue sky"}]


def test_an_error_ends_the_answer_after_the_events_before_it() -> None:
    found = result(chunk("Hi"), {"code": "Throttling", "message": "a secret prompt", "request_id": "r"})

    assert found.completion.text == "Hi"
    assert isinstance(found.error, sk.ProviderError)
    assert (found.error.code, found.error.detail) == ("Throttling", "a secret prompt")


def test_other_fields_of_a_response_are_kept() -> None:
    search = {"search_results": [{"index": 1, "title": "Grus"}]}
    body = {**chunk("Hi", "stop"), "output": {**chunk("Hi", "stop")["output"], "search_info": search}}

    assert result(body).completion.to_dict()["output"]["search_info"] == search


@pytest.mark.parametrize("body", [CUMULATIVE, INCREMENTAL], ids=["cumulative", "incremental"])
def test_the_first_event_identifies_the_dialect(body: bytes) -> None:
    first = next(iter((sk.sse.Lines() | sk.Parse()).run([body])))

    assert for_event(first) is DashScope
