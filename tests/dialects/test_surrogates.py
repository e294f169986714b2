"""Emoji split at UTF-16 units are joined again in every dialect and channel."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamkit as sk
from streamkit.dialects.surrogates import mark

HIGH, LOW = "\\ud83d", "\\ude00"


def chunk(index: int = 0, **delta: Any) -> str:
    return json.dumps({"choices": [{"index": index, "delta": delta}]})


def finish(index: int = 0) -> str:
    return json.dumps({"choices": [{"index": index, "delta": {}, "finish_reason": "stop"}]})


def body(*payloads: str) -> bytes:
    return "".join(f"data: {payload}\n\n" for payload in payloads).encode()


def read(*payloads: str, dialect: str | None = "openai") -> list[sk.Event]:
    return list((sk.sse.Lines() | sk.Parse() | sk.Extract(dialect)).run([body(*payloads)]))


def texts(*contents: str) -> list[str]:
    """Return the texts of events with these contents, given as the inside of JSON strings."""
    payloads = ['{"choices":[{"index":0,"delta":{"content":"@"}}]}'.replace("@", content) for content in contents]
    return [event.text for event in read(*payloads) if isinstance(event, sk.TextDelta)]


@pytest.mark.parametrize(
    ("contents", "emitted"),
    [
        ([HIGH, LOW], ["😀"]),
        (["a" + HIGH, LOW + "b"], ["a", "😀b"]),
        (["a", "b", "c", "d" + HIGH, LOW, "e", "f"], ["a", "b", "c", "d", "😀", "e", "f"]),
        ([HIGH.upper().replace("U", "u"), LOW], ["😀"]),
        ([HIGH + LOW + HIGH, LOW], ["😀", "😀"]),
        ([HIGH, "b"], ["\ufffdb"]),
        ([HIGH, HIGH, LOW], ["\ufffd", "😀"]),
        ([HIGH + "b"], ["\ufffdb"]),
        ([LOW], ["\ufffd"]),
        (["a", LOW + HIGH, LOW], ["a", "\ufffd", "😀"]),
        ([HIGH], ["\ufffd"]),
        (["a", HIGH], ["a", "\ufffd"]),
        ([HIGH, "", LOW], ["😀"]),
        (["\\\\ud83d", LOW], ["\\ud83d", "\ufffd"]),
    ],
    ids=[
        "one half in each chunk",
        "with text around",
        "among chunks that are alike",
        "in other letters",
        "beside a whole one",
        "alone, and text follows",
        "alone, and another follows",
        "alone within a text",
        "the second half alone",
        "the halves in the wrong order",
        "alone at the end",
        "alone at the end of a text",
        "nothing in between",
        "what is no escape",
    ],
)
def test_halves_are_joined_and_a_lone_one_is_a_replacement_character(contents: list[str], emitted: list[str]) -> None:
    assert texts(*contents) == emitted


@pytest.mark.parametrize(
    ("delta", "event"),
    [
        (lambda text: {"content": text}, sk.TextDelta("😀")),
        (lambda text: {"reasoning_content": text}, sk.ReasoningDelta("😀")),
        (lambda text: {"refusal": text}, sk.RefusalDelta("😀")),
        (lambda text: {"audio": {"transcript": text}}, sk.events.AudioDelta(transcript="😀")),
        (lambda text: {"tool_calls": [{"index": 1, "function": {"arguments": text}}]}, sk.ToolCallDelta(1, arguments="😀")),
        (lambda text: {"function_call": {"arguments": text}}, sk.ToolCallDelta(arguments="😀", type="function_call")),
    ],
    ids=["text", "reasoning", "refusal", "transcript", "arguments", "legacy arguments"],
)  # fmt: skip
def test_every_channel_is_mended(delta: Any, event: sk.Event) -> None:
    events = read(chunk(**delta("\ud83d")), chunk(**delta("\ude00")))

    assert events[-2] == event
    assert all(getattr(other, "arguments", "") == "" for other in events[:-2])


def test_a_legacy_completion_is_mended() -> None:
    assert read('{"choices":[{"index":0,"text":"\\ud83d"}]}', '{"choices":[{"index":0,"text":"\\ude00"}]}')[0] == (
        sk.TextDelta("😀")
    )


def test_a_half_is_buffered_per_choice_and_channel() -> None:
    events = read(
        chunk(0, content="\ud83d"),
        chunk(1, content="\ud83c"),
        chunk(0, reasoning="Hm"),
        chunk(1, content="\udf0d"),
        chunk(0, content="\ude00"),
    )

    assert events[:-1] == [sk.ReasoningDelta("Hm"), sk.TextDelta("🌍", 1), sk.TextDelta("😀", 0)]


def test_a_half_without_its_other_half_is_emitted_before_its_choice_ends() -> None:
    events = read(chunk(0, content="\ud83d"), chunk(1, content="\ud83d"), finish(1), finish(0), "[DONE]")

    assert events[:-1] == [
        sk.TextDelta("\ufffd", 1),
        sk.Finish("stop", 1),
        sk.TextDelta("\ufffd", 0),
        sk.Finish("stop", 0),
    ]


def test_the_start_of_a_call_is_kept_while_its_half_is_buffered() -> None:
    begin = chunk(tool_calls=[{"index": 0, "id": "a", "function": {"name": "f", "arguments": "\ud83d"}}])
    more = chunk(tool_calls=[{"index": 0, "function": {"arguments": "\ude00"}}])

    assert read(begin, more)[:-1] == [sk.ToolCallDelta(0, "a", "f"), sk.ToolCallDelta(0, arguments="😀")]


@pytest.mark.parametrize("bad", ["<html>", '{"error": {"message": "no \\ud83d", "code": 500}}'], ids=["page", "error"])
def test_a_half_left_by_an_error_is_emitted_before_the_error_is_raised(bad: str) -> None:
    events: list[sk.Event] = []
    with pytest.raises((sk.errors.ProtocolError, sk.ProviderError)) as caught:
        events.extend((sk.Parse() | sk.Extract()).run(body(chunk(content="a\ud83d"), bad)))

    assert events[:2] == [sk.TextDelta("a"), sk.TextDelta("\ufffd")]
    if isinstance(caught.value, sk.ProviderError):
        assert caught.value.detail == "no \ufffd"
        assert caught.value.body == {"message": "no \ufffd", "code": 500}


def test_a_half_in_another_field_of_a_chunk_is_a_replacement_character() -> None:
    start = json.dumps(
        {"id": "\ud83d", "choices": [{"index": 0, "delta": {"content": "a"}, "logprobs": {"x": ["\ud83d"]}}]}
    )

    events = read(start, finish())

    assert events[:3] == [sk.events.ResponseStart("\ufffd"), sk.TextDelta("a"), sk.events.Logprobs({"x": ["\ufffd"]})]


def test_raw_is_the_chunk_as_it_was_sent() -> None:
    first, second = chunk(content="a\ud83d"), chunk(content="\ude00")

    events = read(first, second)

    assert [event.payload for event in events[:2]] == [first.encode(), second.encode()]
    assert events[0].raw == json.loads(first)


@pytest.mark.parametrize(
    ("dialect", "before", "one"),
    [
        (
            "anthropic",
            ['{"type":"message_start","message":{"content":[]}}'],
            '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"@"}}',
        ),
        ("gemini", [], '{"candidates":[{"content":{"parts":[{"text":"@"}]}}]}'),
        ("cohere", [], '{"type":"content-delta","index":0,"delta":{"message":{"content":{"text":"@"}}}}'),
        ("openai", [], '{"choices":[{"index":0,"delta":{"content":"@"}}]}'),
        (
            "responses",
            [],
            '{"type":"response.output_text.delta","item_id":"m","output_index":0,"content_index":0,"delta":"@"}',
        ),
        ("ollama", [], '{"model":"m","created_at":"2024","message":{"role":"assistant","content":"@"},"done":false}'),
        ("watsonx", [], '{"results":[{"generated_text":"@","stop_reason":"not_finished"}]}'),
        ("transcription", [], '{"type":"transcript.text.delta","delta":"@"}'),
        ("writer", [], '{"value":"@"}'),
    ],
)  # fmt: skip
@pytest.mark.parametrize("named", [True, False], ids=["named", "found out"])
def test_every_dialect_is_mended(dialect: str, before: list[str], one: str, *, named: bool) -> None:
    payloads = [*before, one.replace("@", "a" + HIGH), one.replace("@", LOW + "b")]

    events = read(*payloads, dialect=dialect if named else None)

    assert [event.text for event in events if isinstance(event, sk.TextDelta)] == ["a", "😀b"]


def test_a_dialect_of_an_event_that_is_named_is_mended() -> None:
    delta = '{"id":"m","delta":{"content":[{"index":0,"type":"text","text":{"value":"@"}}]}}'
    blocks = [f"event: thread.message.delta\ndata: {delta.replace('@', half)}\n\n" for half in (HIGH, LOW)]

    events = list((sk.Parse() | sk.Extract()).run("".join(blocks).encode()))

    assert sk.TextDelta("😀") in events


def test_json_lines_are_mended() -> None:
    line = (
        '{"model":"m","created_at":"2024-01-01T00:00:00Z","message":{"role":"assistant","content":"@"},"done":false}\n'
    )
    text = line.replace("@", HIGH) + line.replace("@", LOW) + line.replace("@", "!")

    events = list((sk.sse.Lines() | sk.Parse() | sk.Extract()).run([text.encode()]))

    assert [event.text for event in events if isinstance(event, sk.TextDelta)] == ["😀", "!"]


def test_invalid_utf_8_kept_as_surrogates_becomes_replacement_characters() -> None:
    payload = b'data: {"choices":[{"index":0,"delta":{"content":"a\xffb"}}]}\n\n'

    events = list((sk.sse.Lines(errors="surrogateescape") | sk.Parse() | sk.Extract()).run([payload]))

    assert events[0] == sk.TextDelta("a\ufffdb")


CONTENTS = st.lists(
    st.lists(st.sampled_from([HIGH, LOW, "a", "\\n", "\\\\", HIGH + LOW, "é"]), max_size=4).map("".join), max_size=8
)


@given(CONTENTS, st.integers(1, 8))
def test_all_halves_are_joined_however_events_are_batched(contents: list[str], size: int) -> None:
    payloads = ['{"choices":[{"index":0,"delta":{"content":"@"}}]}'.replace("@", content) for content in contents]
    events = [sk.sse.ServerSentEvent.of(payload) for payload in payloads]
    reader = sk.Extract("openai").fresh()
    emitted: list[sk.Event] = []
    for at in range(0, len(events), size):
        emitted.extend(reader.feed_all(events[at : at + size]))
    emitted.extend(reader.flush())

    assert emitted == list(sk.Extract("openai").run(events))
    whole = (
        json.loads('"' + "".join(contents) + '"').encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    )
    assert "".join(event.text for event in emitted if isinstance(event, sk.TextDelta)) == whole
    assert all(event.text for event in emitted if isinstance(event, sk.TextDelta))


@given(st.text(st.sampled_from(["\\", "u", "d", "8", "3", "e", "0", '"', "n", "\ud83d", "\ude00", "a"])))
def test_marks_agree_with_python_on_lone_surrogates(inside: str) -> None:
    try:
        value = json.loads(f'"{inside}"')
    except ValueError:
        return
    # Python does not join two unescaped halves, or an escaped and an unescaped one.
    lone = any("\ud800" <= char <= "\udfff" for char in value)

    assert (mark(f'"{inside}"'.encode("utf-8", "surrogatepass")) is not None) == lone


def test_halves_in_the_text_of_a_part_are_joined_in_its_field() -> None:
    add = {"type": "response.output_item.added", "output_index": 0}
    item = {"id": "ci", "type": "code_interpreter_call", "code": "", "status": "in_progress"}
    code = {"type": "response.code_interpreter_call_code.delta", "item_id": "ci", "output_index": 0}
    bodies = [json.dumps({**add, "item": item})] + [
        json.dumps(code)[:-1] + f', "delta": "{piece}"}}' for piece in PIECES
    ]
    end = json.dumps({"type": "response.output_item.done", "output_index": 0, "item": {**item, "status": "completed"}})

    events = list(
        (sk.Parse() | sk.Extract()).run([b"".join(b"data: " + one.encode() + b"\n\n" for one in [*bodies, end])])
    )

    texts = [event for event in events if isinstance(event, sk.events.PartDelta | sk.events.PartEnd)]
    assert [event.text for event in texts if isinstance(event, sk.events.PartDelta)] == [
        "a",
        "\N{GRINNING FACE}b",
        "\ufffd",
    ]
    assert isinstance(texts[-1], sk.events.PartEnd)
    assert all(event.path == ("code",) for event in texts if isinstance(event, sk.events.PartDelta))


PIECES = ("a\\ud83d", "\\ude00b", "\\ud83d")
