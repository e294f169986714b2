"""Field values that no provider sends are read, ignored, or raise a typed error after everything received before."""

import json
from typing import Any

import msgspec
import pytest

import streamkit as sk
from streamkit.dialects import DIALECTS
from tests.dialects.streams import cuts, read, read_data, sse

CREATED = {"type": "response.created", "response": {"id": "r", "object": "response"}}
PLACE = {"item_id": "i", "output_index": 0, "content_index": 0}
COMPLETED = {"type": "response.completed", "response": {"id": "r", "object": "response", "status": "completed"}}
TEXT = '{"choices": [{"index": 0, "delta": {"content": "Blue"}}]}'
STOP = '{"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}'


def put(form: str, *values: str) -> str:
    """Return JSON with each `?` replaced by one of the values."""
    for value in values:
        form = form.replace("?", value, 1)
    return form


def chat(delta: str) -> str:
    return put('{"choices": [{"index": 0, "delta": ?}]}', delta)


NUMBERS = {"beyond a double": "1e999", "too many digits": "9" * 5000}


@pytest.mark.parametrize("number", NUMBERS.values(), ids=NUMBERS)
@pytest.mark.parametrize("dialect", [name for name in DIALECTS if name != "replicate"])
def test_an_unreadable_number_is_a_typed_error(dialect: str, number: str) -> None:
    result = read(sse(put('{"x": ?}', number)), dialect=dialect)

    assert isinstance(result.error, sk.errors.ProtocolError)
    assert number not in str(result.error)


@pytest.mark.parametrize("number", NUMBERS.values(), ids=NUMBERS)
def test_events_before_it_in_the_same_read_are_delivered(number: str) -> None:
    body = sse(TEXT, put('{"x": ?}', number), STOP, "[DONE]")

    for pieces in ([body], *cuts(body, times=1)):
        result = read(*pieces)
        assert isinstance(result.error, sk.errors.ProtocolError)
        assert [event.text for event in result.of(sk.TextDelta)] == ["Blue"]


@pytest.mark.parametrize(
    ("number", "shown"),
    [("1e999", float("inf")), ("9" * 5000, float("inf")), ("-1e999", float("-inf")), ("9" * 30, int("9" * 30))],
    ids=["beyond a double", "too many digits", "negative", "beyond 64 bits"],
)
def test_an_unreadable_number_in_an_unread_field_is_in_raw(number: str, shown: float) -> None:
    body = sse(*[chat(put('{"content": "Blue", "x": ?}', number))] * 3, STOP, "[DONE]")
    result = read(body, dialect="openai")

    assert result.error is None
    assert result.completion.text == "BlueBlueBlue"
    assert [event.raw["choices"][0]["delta"]["x"] for event in result.of(sk.TextDelta)] == [shown] * 3


def test_a_whole_message_with_such_a_number_is_read_without_its_details() -> None:
    body = b'{"choices": [{"index": 0, "message": {"content": "Blue", "x": 1e999}, "finish_reason": "stop"}]}'
    result = read(body, dialect="openai")

    assert (result.error, result.completion.text, result.end.reason) == (None, "Blue", "completed")
    assert json.dumps(result.completion.to_dict(), allow_nan=False)


@pytest.mark.parametrize("index", ["1e999", "9" * 4300, str(2**63), "true", "[]"])
def test_an_invalid_index_is_0(index: str) -> None:
    delta = put('{"tool_calls": [{"index": ?, "id": "c", "function": {"name": "f"}}]}', index)
    body = sse(put('{"choices": [{"index": ?, "delta": ?, "finish_reason": "tool_calls"}]}', index, delta), "[DONE]")
    result = read(body)

    if index == "1e999":
        assert isinstance(result.error, sk.errors.ProtocolError)
    else:
        assert [(choice.index, choice.tool_calls[0].index) for choice in result.completion.choices] == [(0, 0)]


@pytest.mark.parametrize("other", ["refusal", "reasoning_text", "output_text"])
@pytest.mark.parametrize("first", ["refusal", "reasoning_text", "output_text"])
def test_text_of_another_kind_than_its_part_is_a_separate_part(first: str, other: str) -> None:
    result = read_data(
        CREATED,
        {"type": "response.output_item.added", "output_index": 0, "item": {"id": "i", "type": "message"}},
        {"type": "response.content_part.added", **PLACE, "part": {"type": first, "text": ""}},
        {"type": f"response.{first}.delta", **PLACE, "delta": "Blue"},
        {"type": f"response.{other}.delta", **PLACE, "delta": " sky"},
        COMPLETED,
    )

    assert result.error is None
    (item,) = result.completion.to_dict()["output"]
    emitted = [(part["type"], part["refusal" if part["type"] == "refusal" else "text"]) for part in item["content"]]
    assert emitted == ([(first, "Blue sky")] if first == other else [(first, "Blue"), (other, " sky")])


@pytest.mark.parametrize("kind", [{}, [], 5, None, {"type": {}}])
@pytest.mark.parametrize("event", ["response.output_item.added", "response.output_item.done"])
def test_a_type_that_is_not_a_string_is_ignored(kind: Any, event: str) -> None:
    result = read_data(CREATED, {"type": event, "output_index": 0, "item": {"type": kind}}, COMPLETED)

    assert (result.error, result.end.reason) == (None, "completed")
    assert json.dumps(result.completion.to_dict())


@pytest.mark.parametrize("value", ["5", "true", "{}", '["a"]', "null", "1.5"])
@pytest.mark.parametrize("name", ["data", "transcript", "id"])
def test_audio_that_is_not_a_string_is_left_out(name: str, value: str) -> None:
    good = '{"audio": {"id": "a", "data": "QQ", "transcript": "A", "expires_at": 7}}'
    result = read(sse(chat(good), chat(put('{"audio": {"?": ?}}', name, value)), chat(good), STOP, "[DONE]"))

    assert result.error is None
    assert result.choice.audio == {"id": "a", "data": "QQQQ", "transcript": "AA", "expires_at": 7}


@pytest.mark.parametrize("token", ["5", "null", "{}", "[]", "true"])
def test_a_token_that_is_not_a_string_is_left_out_of_chat_log_probabilities(token: str) -> None:
    logprobs = put('{"tokens": ["a", ?, "c"], "token_logprobs": [-1, -2, -3]}', token)
    chunk = put('{"object": "text_completion", "choices": [{"index": 0, "text": "abc", "logprobs": ?}]}', logprobs)
    completion = read(sse(chunk, "[DONE]")).completion

    found = completion.to_openai()["choices"][0]["logprobs"]["content"]
    assert [(one["token"], one["logprob"]) for one in found] == [("a", -1), ("c", -3)]


HALF = '"\\ud83d"'
KEPT = {
    "Anthropic, usage": (
        "anthropic",
        put('{"type": "message_start", "message": {"id": "m", "content": [], "usage": {"x": ?}}}', HALF),
        '{"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}}',
        '{"type": "message_stop"}',
    ),
    "chat, a sibling": (
        "openai",
        '{"choices": [{"index": 0, "delta": {"content": "a"}}], "x": 1}',
        put('{"choices": [], "x": ?}', HALF),
        STOP,
        "[DONE]",
    ),
    "chat, a finish reason": ("openai", put('{"choices": [{"index": 0, "finish_reason": ?}]}', HALF), TEXT, "[DONE]"),
    "an error": ("openai", TEXT, put('{"error": {"message": ?, "code": ?, "type": ?}}', HALF, HALF, HALF)),
}


@pytest.mark.parametrize("events", KEPT.values(), ids=KEPT)
def test_a_stored_lone_surrogate_is_replaced_in_every_later_event(events: tuple[str, ...]) -> None:
    dialect, *payloads = events
    body = sse(*payloads)

    for pieces in ([body], *cuts(body, times=1)):
        result = read(*pieces, dialect=dialect)
        emitted = repr([*result.events, result.error, vars(result.error or sk.StreamkitError())])
        assert "\\ufdd" not in ascii(emitted)
        assert "\\ud83d" not in ascii(emitted)
        assert "\ufffd" in emitted


def test_a_run_with_a_lone_surrogate_is_resumed_from_its_checkpoint() -> None:
    events = [
        sk.sse.ServerSentEvent.of(chat(put('{"content": "?"}', text))) for text in ("\\ude00\\ud83d", "\\ude00 \\\\d")
    ]
    events += [sk.sse.ServerSentEvent.of(STOP), sk.sse.ServerSentEvent.of("[DONE]")]
    pipeline = sk.Extract("openai") | sk.Accumulate()
    run = pipeline.run(iter(events))
    seen = [next(run)]

    rest = pipeline.run(events[1:], checkpoint=json.loads(json.dumps(run.checkpoint())))

    assert [*seen, *rest] == list(pipeline.run(events))


def test_a_chunk_is_read_in_the_same_way_after_a_checkpoint() -> None:
    first = '{"choices": [{"index": 0, "delta": {"content": "a"}, "y": 1}], "x": 1}'
    second = '{"choices": [{"index": 0, "delta": {"content": "b", "z": 1e999}, "y": 2}], "x": 2}'
    events = [sk.sse.ServerSentEvent.of(data) for data in (first, second, STOP, "[DONE]")]
    pipeline = sk.Extract("openai") | sk.Accumulate()
    run = pipeline.run(iter(events))
    seen = [next(run) for _ in range(3)]
    checkpoint = json.loads(json.dumps(run.checkpoint()))

    rest = pipeline.run(events[checkpoint["received"] :], checkpoint=checkpoint)

    assert [*seen, *rest] == list(pipeline.run(events))


@pytest.mark.parametrize("dialect", ["openai", "replicate"])
def test_an_unescaped_lone_surrogate_is_joined_or_replaced(dialect: str) -> None:
    def event(text: str) -> sk.sse.ServerSentEvent:
        return sk.sse.ServerSentEvent.of(chat(put('{"content": "?"}', text)) if dialect == "openai" else text, "output")

    events = [event("a\ud83d"), event("\ude00"), event("\ud83d")]
    found = [one for one in sk.Extract(dialect).run(events) if isinstance(one, sk.TextDelta)]

    assert [one.text for one in found] == ["a", "😀", "\ufffd"]
    assert all(msgspec.json.encode(one) for one in found)


def test_data_after_the_end_of_a_step_does_not_change_emitted_events() -> None:
    events = [
        sk.sse.ServerSentEvent.of(json.dumps(data))
        for data in (
            {"event_type": "step.start", "index": 0, "step": {"type": "thought"}},
            {"event_type": "step.stop", "index": 0},
            {"event_type": "step.delta", "index": 0, "delta": {"type": "thought_signature", "signature": "s"}},
        )
    ]
    found = [event for event in sk.Extract("interactions").run(events) if isinstance(event, sk.events.PartEnd)]

    assert [event.data for event in found] == [{}, {"signature": "s"}]


def test_a_text_that_contradicts_in_the_middle_of_a_read_ends_the_answer_there() -> None:
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}
    chunks = [{"content": "Blue"}, {"content": "Red"}, {"tool_calls": [call]}]
    events = [sk.sse.ServerSentEvent.of(chat(json.dumps(delta))) for delta in chunks]
    stage = sk.Extract("openai", cumulative=True)

    together, apart = list[sk.Event](), list[sk.Event]()
    with pytest.raises(sk.errors.ProtocolError):
        together.extend(stage.fresh().feed_all(events))
    one = stage.fresh()
    with pytest.raises(sk.errors.ProtocolError):
        for event in events:
            apart.extend(one.feed(event))

    assert together == apart == [sk.TextDelta("Blue")]


@pytest.mark.parametrize("word", ["-", "…", "☃", "\\ud83d", "{}", "[1]", "5", "true"])
def test_a_finish_reason_without_letters_is_not_a_success(word: str) -> None:
    said = word if word in ("{}", "[1]", "5", "true") else f'"{word}"'
    result = read(
        sse(put('{"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": ?}]}', said), "[DONE]")
    )

    assert result.end.reason == ("completed" if word == "{}" else "unknown")
