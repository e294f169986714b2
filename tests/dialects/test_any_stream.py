"""Any answer in any dialect is read unchanged however it is split; damage leads to a typed outcome, never to a false success."""

import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streamkit as sk
from tests.kit import cut


class Answer(NamedTuple):
    """A model's answer: its text and the arguments of its calls, in the pieces that are sent."""

    texts: list[str]
    thoughts: list[str]
    calls: list[list[str]]


class Wire(NamedTuple):
    """The blocks of a stream, and the blocks that end the answer; without those it is never complete."""

    blocks: list[bytes]
    evidence: list[bytes]


def in_pieces(draw: st.DrawFn, *, halves: bool = True) -> list[str]:
    """A text split at UTF-16 units, which may split an emoji, or at characters."""
    text = draw(st.text(st.sampled_from('ab {}[]":\\\n\u2028é漢😀🇩👩\u200d'), max_size=12))
    if not halves:
        places = sorted(draw(st.sets(st.integers(0, len(text)), max_size=3)) | {0, len(text)})
        return [text[start:end] for start, end in pairwise(places)]
    units = text.encode("utf-16-le")
    places = sorted(draw(st.sets(st.integers(0, len(units) // 2), max_size=4)) | {0, len(units) // 2})
    return [units[2 * start : 2 * end].decode("utf-16-le", "surrogatepass") for start, end in pairwise(places)]


@st.composite
def answers(draw: st.DrawFn, *, halves: bool = True) -> Answer:
    calls = [in_pieces(draw, halves=halves) for _ in range(draw(st.integers(0, 2)))]
    return Answer(in_pieces(draw, halves=halves), in_pieces(draw, halves=halves), calls)


def sse(payload: Any, name: str | None = None) -> bytes:
    """A block of the stream. Its JSON is escaped, because lone surrogates can't be encoded otherwise."""
    data = payload if isinstance(payload, str) else json.dumps(payload)
    lines = "".join(f"data: {line}\n" for line in data.split("\n"))
    return (f"event: {name}\n{lines}\n" if name else f"{lines}\n").encode()


def named(payload: dict[str, Any]) -> bytes:
    return sse(payload, payload["type"])


def joined(pieces: list[str]) -> str:
    return "".join(pieces).encode("utf-16-le", "surrogatepass").decode("utf-16-le")


# One function per dialect


def openai(answer: Answer) -> Wire:
    def chunk(finish: str | None = None, **delta: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return sse({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]})

    def call(number: int, arguments: str, **more: Any) -> bytes:
        id = {"id": f"call_{number}", "type": "function"} if more else {}
        return chunk(tool_calls=[{"index": number, **id, "function": {**more, "arguments": arguments}}])

    end = [chunk("stop"), sse("[DONE]")]
    blocks = [
        chunk(role="assistant", content=""),
        *(chunk(reasoning_content=piece) for piece in answer.thoughts),
        *(chunk(content=piece) for piece in answer.texts),
    ]
    for number, pieces in enumerate(answer.calls):
        blocks += [call(number, "", name="f"), *(call(number, piece) for piece in pieces)]
    used = {"id": "c", "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}}
    return Wire([*blocks, end[0], sse(used), end[1]], end)


def legacy(answer: Answer) -> Wire:
    def chunk(text: str, finish: str | None = None) -> bytes:
        return sse({"object": "text_completion", "choices": [{"index": 0, "text": text, "finish_reason": finish}]})

    end = [chunk("", "stop"), sse("[DONE]")]
    return Wire([*map(chunk, answer.texts), *end], end)


def anthropic(answer: Answer) -> Wire:
    start = {"type": "message_start", "message": {"id": "m", "role": "assistant", "content": [], "usage": {}}}
    blocks = [named(start), named({"type": "ping"})]
    contents: list[tuple[dict[str, Any], str, str, list[str]]] = [
        ({"type": "thinking", "thinking": ""}, "thinking_delta", "thinking", answer.thoughts),
        ({"type": "text", "text": ""}, "text_delta", "text", answer.texts),
    ]
    for number, pieces in enumerate(answer.calls):
        tool = {"type": "tool_use", "id": f"call_{number}", "name": "f", "input": {}}
        contents.append((tool, "input_json_delta", "partial_json", pieces))
    for index, (block, kind, field, pieces) in enumerate(contents):
        blocks.append(named({"type": "content_block_start", "index": index, "content_block": block}))
        for piece in pieces:
            delta = {"type": kind, field: piece}
            blocks.append(named({"type": "content_block_delta", "index": index, "delta": delta}))
        blocks.append(named({"type": "content_block_stop", "index": index}))
    end = [
        named({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}}),
        named({"type": "message_stop"}),
    ]
    return Wire([*blocks, *end], end)


def gemini(answer: Answer) -> Wire:
    def chunk(finish: str | None = None, **part: Any) -> bytes:
        candidate = {"index": 0, "content": {"role": "model", "parts": [part] if part else []}}
        return sse({"candidates": [candidate | ({"finishReason": finish} if finish else {})], "modelVersion": "m"})

    end = chunk("STOP")
    thoughts = [chunk(text=piece, thought=True) for piece in answer.thoughts]
    return Wire([*thoughts, *(chunk(text=piece) for piece in answer.texts), end], [end])


def cohere(answer: Answer) -> Wire:
    def event(kind: str, index: int, **message: Any) -> bytes:
        return named({"type": kind, "index": index, "delta": {"message": message}})

    blocks = [named({"type": "message-start", "id": "m", "delta": {"message": {"role": "assistant"}}})]
    blocks += [event("tool-plan-delta", 0, tool_plan=piece) for piece in answer.thoughts]
    blocks += [event("content-start", 0, content={"type": "text", "text": ""})]
    blocks += [event("content-delta", 0, content={"text": piece}) for piece in answer.texts]
    for number, pieces in enumerate(answer.calls):
        call = {"id": f"call_{number}", "type": "function", "function": {"name": "f", "arguments": ""}}
        blocks.append(event("tool-call-start", number, tool_calls=call))
        blocks += [event("tool-call-delta", number, tool_calls={"function": {"arguments": piece}}) for piece in pieces]
    end = named({"type": "message-end", "delta": {"finish_reason": "COMPLETE"}})
    return Wire([*blocks, end], [end])


def cohere_v1(answer: Answer) -> Wire:
    """The last event repeats the text."""

    def event(kind: str, **fields: Any) -> bytes:
        return sse({"is_finished": kind == "stream-end", "event_type": kind, **fields})

    blocks = [event("stream-start", generation_id="g")]
    blocks += [event("tool-calls-chunk", text=piece) for piece in answer.thoughts]
    for number, pieces in enumerate(answer.calls):
        deltas = [{"name": "f"}, *({"parameters": piece} for piece in pieces)]
        blocks += [event("tool-calls-chunk", tool_call_delta={"index": number, **delta}) for delta in deltas]
    blocks += [event("text-generation", text=piece) for piece in answer.texts]
    said = {"text": joined(answer.texts), "generation_id": "g", "finish_reason": "COMPLETE"}
    end = event("stream-end", response=said)
    return Wire([*blocks, end], [end])


def responses(answer: Answer) -> Wire:
    def event(kind: str, output: int, **fields: Any) -> bytes:
        return named({"type": f"response.{kind}", "output_index": output, "item_id": f"i_{output}", **fields})

    response = {"id": "r", "object": "response", "created_at": 1, "model": "m", "output": []}
    blocks = [named({"type": "response.created", "response": response})]
    blocks += [event("reasoning_text.delta", 0, content_index=0, delta=piece) for piece in answer.thoughts]
    blocks += [event("output_text.delta", 1, content_index=0, delta=piece) for piece in answer.texts]
    blocks += [event("output_text.done", 1, content_index=0, text=joined(answer.texts))]
    for number, pieces in enumerate(answer.calls, 2):
        item = {"id": f"i_{number}", "type": "function_call", "call_id": f"call_{number - 2}", "name": "f"}
        blocks.append(event("output_item.added", number, item={**item, "arguments": ""}))
        blocks += [event("function_call_arguments.delta", number, delta=piece) for piece in pieces]
        blocks.append(event("function_call_arguments.done", number, arguments=joined(pieces)))
    end = named({"type": "response.completed", "response": {**response, "status": "completed"}})
    return Wire([*blocks, end], [end])


def ollama(answer: Answer) -> Wire:
    def line(done: bool = False, **message: Any) -> bytes:
        end = {"done_reason": "stop"} if done else {}
        fields = {"model": "m", "created_at": "2025-07-01T10:00:00Z", "message": {"role": "assistant", **message}}
        return (json.dumps({**fields, "done": done, **end}) + "\n").encode()

    end = line(True, content="")
    thoughts = [line(content="", thinking=piece) for piece in answer.thoughts]
    return Wire([*thoughts, *(line(content=piece) for piece in answer.texts), end], [end])


def interactions(answer: Answer) -> Wire:
    def event(kind: str, **fields: Any) -> bytes:
        return sse({"event_type": kind, **fields}, kind)

    def step(index: int, step: dict[str, Any], deltas: list[dict[str, Any]]) -> list[bytes]:
        return [
            event("step.start", index=index, step=step),
            *(event("step.delta", index=index, delta=delta) for delta in deltas),
            event("step.stop", index=index),
        ]

    interaction = {"id": "v1", "object": "interaction", "model": "m"}
    thoughts = [{"type": "thought_summary", "content": {"type": "text", "text": piece}} for piece in answer.thoughts]
    blocks = [event("interaction.created", interaction={**interaction, "status": "in_progress"})]
    blocks += step(0, {"type": "thought"}, thoughts)
    blocks += step(1, {"type": "model_output"}, [{"type": "text", "text": piece} for piece in answer.texts])
    for number, pieces in enumerate(answer.calls):
        call = {"type": "function_call", "id": f"call_{number}", "name": "f", "arguments": {}}
        blocks += step(2 + number, call, [{"type": "arguments_delta", "arguments": piece} for piece in pieces])
    end = event("interaction.completed", interaction={**interaction, "status": "completed"})
    return Wire([*blocks, end], [end])


def cloudflare(answer: Answer) -> Wire:
    calls = list[bytes]()
    for number, pieces in enumerate(answer.calls):
        first = {
            "index": number,
            "id": f"call_{number}",
            "type": "function",
            "function": {"name": "f", "arguments": ""},
        }
        rest = [{"index": number, "function": {"arguments": piece}} for piece in pieces]
        calls += [sse({"response": None, "tool_calls": [call]}) for call in (first, *rest)]
    used = sse({"response": "", "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}})
    end = sse("[DONE]")
    texts = [sse({"response": piece, "p": "ab"}) for piece in answer.texts]
    return Wire([*texts, *calls, used, end], [end])


def tgi(answer: Answer) -> Wire:
    def token(number: int, text: str, **more: Any) -> bytes:
        said = {"id": number, "text": text, "logprob": -0.1, "special": bool(more)}
        return sse({"index": number, "token": said, "generated_text": None, "details": None, **more})

    details = {"finish_reason": "eos_token", "generated_tokens": len(answer.texts)}
    end = token(99, "</s>", generated_text=joined(answer.texts), details=details)
    return Wire([*(token(number, piece) for number, piece in enumerate(answer.texts)), end], [end])


def dashscope(answer: Answer) -> Wire:
    """Every chunk has the whole text, reasoning and arguments so far."""
    said: dict[str, Any] = {"role": "assistant", "content": "", "reasoning_content": ""}

    def chunk(word: str = "null") -> bytes:
        output = {"choices": [{"message": said, "finish_reason": word}]}
        tokens = len(said["content"]) + len(said["reasoning_content"])
        return sse({"output": output, "usage": {"output_tokens": tokens}, "request_id": "r"}, "result")

    blocks = list[bytes]()
    for name, pieces in (("reasoning_content", answer.thoughts), ("content", answer.texts)):
        for piece in pieces:
            said[name] += piece
            blocks.append(chunk())
    for number, pieces in enumerate(answer.calls):
        function = {"name": "f", "arguments": ""}
        call = {"index": number, "id": f"call_{number}", "type": "function", "function": function}
        said["tool_calls"] = [*said.get("tool_calls", []), call]
        blocks.append(chunk())
        for piece in pieces:
            function["arguments"] += piece
            blocks.append(chunk())
    end = chunk("stop")
    return Wire([*blocks, end], [end])


def watsonx(answer: Answer) -> Wire:
    def chunk(text: str, stop: str = "not_finished") -> bytes:
        return sse({"model_id": "m", "results": [{"generated_text": text, "stop_reason": stop}]}, "message")

    end = chunk("", "eos_token")
    return Wire([*map(chunk, answer.texts), end], [end])


def assistants(answer: Answer) -> Wire:
    def delta(text: str) -> bytes:
        part = {"index": 0, "type": "text", "text": {"value": text, "annotations": []}}
        return sse({"id": "m", "delta": {"content": [part]}}, "thread.message.delta")

    start = sse({"id": "r", "object": "thread.run", "created_at": 1, "model": "m"}, "thread.run.created")
    end = sse({"id": "r", "object": "thread.run", "status": "completed"}, "thread.run.completed")
    return Wire([start, *map(delta, answer.texts), end, sse("[DONE]", "done")], [end])


def transcription(answer: Answer) -> Wire:
    deltas = [sse({"type": "transcript.text.delta", "delta": piece}) for piece in answer.texts]
    end = sse({"type": "transcript.text.done", "text": joined(answer.texts)})
    return Wire([*deltas, end], [end])


def replicate(answer: Answer) -> Wire:
    end = sse("{}", "done")
    return Wire([*(sse(piece, "output") for piece in answer.texts), end], [end])


def writer(answer: Answer) -> Wire:
    end = sse("[DONE]")
    return Wire([*(sse({"value": piece}) for piece in answer.texts), end], [end])


def converse(answer: Answer) -> Wire:
    def event(name: str, **fields: Any) -> bytes:
        return sse({**fields, "p": "abc"}, name)

    def delta(index: int, **delta: Any) -> bytes:
        return event("contentBlockDelta", contentBlockIndex=index, delta=delta)

    blocks = [event("messageStart", role="assistant")]
    blocks += [delta(0, reasoningContent={"text": piece}) for piece in answer.thoughts]
    blocks += [event("contentBlockStop", contentBlockIndex=0)]
    blocks += [delta(1, text=piece) for piece in answer.texts]
    blocks += [event("contentBlockStop", contentBlockIndex=1)]
    for index, pieces in enumerate(answer.calls, 2):
        start = {"toolUse": {"toolUseId": f"call_{index}", "name": "f"}}
        blocks.append(event("contentBlockStart", contentBlockIndex=index, start=start))
        blocks += [delta(index, toolUse={"input": piece}) for piece in pieces]
        blocks.append(event("contentBlockStop", contentBlockIndex=index))
    stop = event("messageStop", stopReason="end_turn")
    return Wire([*blocks, stop, event("metadata", usage={"inputTokens": 1, "outputTokens": 3}, metrics={})], [stop])


def realtime(answer: Answer) -> Wire:
    response = {"id": "r", "object": "realtime.response", "output": []}
    blocks = [sse({"type": "session.created", "session": {"id": "s"}})]
    blocks.append(sse({"type": "response.created", "response": {**response, "status": "in_progress"}}))
    place = {"item_id": "m", "output_index": 0, "content_index": 0}
    blocks += [sse({"type": "response.output_text.delta", "delta": piece, **place}) for piece in answer.texts]
    for index, pieces in enumerate(answer.calls, 1):
        call = {"type": "function_call", "id": f"f{index}", "call_id": f"call_{index}", "name": "f", "arguments": ""}
        blocks.append(sse({"type": "response.output_item.added", "output_index": index, "item": call}))
        at = {"item_id": f"f{index}", "output_index": index}
        blocks += [sse({"type": "response.function_call_arguments.delta", "delta": piece, **at}) for piece in pieces]
    end = sse({"type": "response.done", "response": {**response, "status": "completed", "usage": {"input_tokens": 1}}})
    return Wire([*blocks, end], [end])


def live(answer: Answer) -> Wire:
    def turn(**part: Any) -> bytes:
        return sse({"serverContent": {"modelTurn": {"role": "model", "parts": [part]}}})

    end = sse({"serverContent": {"turnComplete": True}, "usageMetadata": {"responseTokenCount": 3}})
    thoughts = [turn(text=piece, thought=True) for piece in answer.thoughts]
    texts = [turn(text=piece) for piece in answer.texts]
    return Wire([sse({"setupComplete": {}}), *thoughts, *texts, end], [end])


def bedrock(answer: Answer) -> Wire:
    def chunk(text: str, stop: str | None = None) -> bytes:
        return sse({"generation": text, "prompt_token_count": None, "generation_token_count": 1, "stop_reason": stop})

    end = chunk("", "stop")
    return Wire([*map(chunk, answer.texts), end], [end])


DIALECTS: dict[str, Callable[[Answer], Wire]] = {
    "openai": openai,
    "openai, legacy": legacy,
    "anthropic": anthropic,
    "gemini": gemini,
    "cohere": cohere,
    "cohere-v1": cohere_v1,
    "responses": responses,
    "ollama": ollama,
    "watsonx": watsonx,
    "assistants": assistants,
    "transcription": transcription,
    "replicate": replicate,
    "writer": writer,
    "interactions": interactions,
    "cloudflare": cloudflare,
    "tgi": tgi,
    "dashscope": dashscope,
    "converse": converse,
    "bedrock": bedrock,
    "realtime": realtime,
    "gemini-live": live,
}
THINKING = {
    "gemini-live",
    "converse",
    "openai",
    "anthropic",
    "gemini",
    "cohere",
    "cohere-v1",
    "responses",
    "ollama",
    "interactions",
    "dashscope",
}
CALLING = {
    "realtime",
    "converse",
    "openai",
    "anthropic",
    "cohere",
    "cohere-v1",
    "responses",
    "interactions",
    "cloudflare",
    "dashscope",
}
each_dialect = pytest.mark.parametrize("name", DIALECTS)
quick = settings(max_examples=40, deadline=None)


def read(pieces: list[bytes], dialect: str | None = None) -> tuple[list[sk.Event], sk.StreamkitError | None]:
    """Return the events and the `StreamkitError`; any other exception fails the test."""
    events: list[sk.Event] = []
    pipeline = sk.sse.Lines() | sk.Parse() | sk.Extract(dialect) | sk.Accumulate()
    try:
        events.extend(pipeline.run(iter(pieces)))
    except sk.StreamkitError as error:
        return events, error
    return events, None


def dialect_of(name: str) -> str:
    return name.partition(",")[0]


def end_of(name: str, answer: Answer) -> str:
    if name in CALLING and answer.calls:
        return "tool_calls"
    # Writer's format has only text: an empty answer is only the end marker, which counts as no answer.
    return "completed" if name != "writer" or joined(answer.texts) else "truncated"


def drawn(name: str, data: st.DataObject) -> tuple[Answer, Wire]:
    # Text that is not JSON has no escapes, so it can't have lone surrogates.
    answer = data.draw(answers(halves=name != "replicate"))
    return answer, DIALECTS[name](answer)


@each_dialect
@quick
@given(data=st.data(), at=st.sets(st.integers(0, 3000), max_size=20))
def test_any_answer_is_read_however_it_is_split(name: str, data: st.DataObject, at: set[int]) -> None:
    answer, wire = drawn(name, data)
    body = b"".join(wire.blocks)

    events, error = read(cut(body, at), dialect_of(name))

    assert error is None
    *_, completion, end = events
    assert isinstance(end, sk.StreamEnd)
    assert end.reason == end_of(name, answer)
    assert isinstance(completion, sk.Completion)
    (choice,) = completion.choices or (sk.events.Choice(0),)
    assert choice.text == joined(answer.texts)
    assert (choice.reasoning or "") == (joined(answer.thoughts) if name in THINKING else "")
    if name in CALLING:
        assert [call.arguments for call in choice.tool_calls] == [joined(pieces) or "{}" for pieces in answer.calls]
    assert read([body], dialect_of(name)) == (events, None)


@each_dialect
@quick
@given(data=st.data())
def test_the_dialect_is_recognized(name: str, data: st.DataObject) -> None:
    answer, wire = drawn(name, data)
    # Their empty answer is only an end marker, which other dialects share.
    if name in ("replicate", "writer") and not answer.texts:
        return

    assert read([b"".join(wire.blocks)]) == read([b"".join(wire.blocks)], dialect_of(name))


@st.composite
def damaged(draw: st.DrawFn, blocks: list[bytes]) -> list[bytes]:
    """The blocks with some removed, duplicated or reordered, and perhaps with the rest of the body cut off."""
    blocks = list(blocks)
    for _ in range(draw(st.integers(0, 4))):
        if not blocks:
            break
        at, other = (draw(st.integers(0, len(blocks) - 1)) for _ in range(2))
        match draw(st.sampled_from(["drop", "double", "swap", "truncate"])):
            case "drop":
                del blocks[at]
            case "double":
                blocks.insert(at, blocks[at])
            case "swap":
                blocks[at], blocks[other] = blocks[other], blocks[at]
            case _:
                blocks[at:] = [blocks[at][: draw(st.integers(0, len(blocks[at])))]]
    return blocks


@each_dialect
@quick
@given(data=st.data())
def test_without_its_end_marker_no_answer_is_complete(name: str, data: st.DataObject) -> None:
    _, wire = drawn(name, data)
    rest = [block for block in wire.blocks if block not in wire.evidence]

    events, error = read([b"".join(data.draw(damaged(rest)))], dialect_of(name))

    assert error is not None or isinstance(events[-1], sk.StreamEnd)
    ends = [event.reason for event in events if isinstance(event, sk.StreamEnd)]
    assert not {"completed", "tool_calls"} & set(ends)
    completions = [event.end for event in events if isinstance(event, sk.Completion)]
    assert not {"completed", "tool_calls"} & set(completions)


@each_dialect
@quick
@given(data=st.data())
def test_a_stream_cut_before_its_end_marker_is_never_complete(name: str, data: st.DataObject) -> None:
    _, wire = drawn(name, data)
    before = b"".join(wire.blocks[: wire.blocks.index(wire.evidence[0])])

    events, error = read([before[: data.draw(st.integers(0, len(before)))]], dialect_of(name))

    assert error is not None or (isinstance(events[-1], sk.StreamEnd) and events[-1].reason == "truncated")


@each_dialect
@quick
@given(
    data=st.data(),
    changes=st.lists(st.tuples(st.integers(0, 3000), st.binary(max_size=3)), min_size=1, max_size=6),
    at=st.sets(st.integers(0, 3000), max_size=8),
)
def test_any_damage_has_a_typed_outcome_however_the_body_is_split(
    name: str, data: st.DataObject, changes: list[tuple[int, bytes]], at: set[int]
) -> None:
    _, wire = drawn(name, data)
    body = b"".join(data.draw(damaged(wire.blocks)))
    for place, change in changes:
        place %= len(body) + 1
        body = body[:place] + change + body[place + len(change) :]

    events, error = read([body], dialect_of(name))

    assert error is not None or isinstance(events[-1], sk.StreamEnd)
    others, other = read(cut(body, at), dialect_of(name))
    assert others == events
    assert repr(other) == repr(error)
    assert all(repr(event) and isinstance(event.raw, object) for event in events)
