"""Any legal answer is well-formed in every format: valid for the client's types, in its order of blocks, however it is split."""

import json
import os
from collections.abc import Callable
from itertools import pairwise
from typing import Any, cast, get_args

import pytest
from anthropic.types import RawMessageStreamEvent
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types import Completion
from openai.types.chat import ChatCompletionChunk
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

import streamkit as sk
from streamkit.completion import SUCCESSES
from streamkit.emitters.failures import INTERNAL, ErrorFrame
from streamkit.events import (
    Annotation,
    AudioDelta,
    Blocked,
    Flagged,
    Logprobs,
    PartDelta,
    PartEnd,
    PartStart,
    ProviderNotice,
    Redacted,
    Reset,
    ResponseStart,
    Retracted,
    RoleDelta,
)
from streamkit.sse import ServerSentEvent
from streamkit.testing.emitters import ENDS
from tests.emitters.kit import CITATION, data_of
from tests.emitters.test_ag_ui import assembled as read_ag_ui
from tests.emitters.test_ag_ui import valid as valid_ag_ui
from tests.emitters.test_ai_sdk import assembled as read_ai_sdk
from tests.emitters.test_ai_sdk import valid as valid_ai_sdk
from tests.emitters.test_anthropic import accepted as accepted_anthropic
from tests.emitters.test_responses import accepted as accepted_responses

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "2500")) // 100
"""Each example is written and read several times, so `make fuzz` runs a hundredth of the usual number."""
MESSAGES: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
RESPONSES = {
    get_args(kind.model_fields["type"].annotation)[0]: kind for kind in get_args(get_args(ResponseStreamEvent)[0])
}
"""The client's event types by name."""
Written = list[ServerSentEvent]

pieces = st.sampled_from(["", "a", "Hello", " ", "\n", '"', "\u2028", "\U0001f600", "{", "[DONE]"])
indexes = st.sampled_from([0, 0, 0, 1])
ranges = st.tuples(st.integers(0, 3), st.integers(3, 6))
decisions = st.sampled_from([Flagged, Redacted, Blocked])
calls = st.integers(0, 2)
citations = st.sampled_from(
    [
        {"type": "url_citation", "url": "https://example.com", "title": "t"},
        {
            "type": "url_citation",
            "url_citation": {"url": "https://example.com", "title": "t", "start_index": 0, "end_index": 1},
        },
        CITATION,
        {},
    ]
)
deltas: st.SearchStrategy[Any] = st.one_of(
    st.builds(sk.TextDelta, pieces, indexes),
    st.builds(sk.TextDelta, pieces, indexes),
    st.builds(sk.ReasoningDelta, pieces, indexes),
    st.builds(sk.RefusalDelta, pieces, indexes),
    st.builds(sk.ToolCallDelta, calls, st.sampled_from([None, None, "given"]), st.sampled_from([None, "f", "g"]),
              st.sampled_from(["", '{"a":', "1}", "{}", "x"]), indexes),
    st.builds(sk.ToolCallDelta, st.just(3), st.just("call_3"), st.just("run"), pieces, indexes, st.just("custom")),
    st.builds(AudioDelta, st.sampled_from([None, "UklGRg=="]), st.sampled_from([None, "Hi"]), st.just("audio_1")),
    st.builds(Annotation, citations, indexes),
    st.builds(Logprobs, st.just({"content": [{"token": "a", "logprob": -0.1, "bytes": None, "top_logprobs": []}]}), indexes),
    st.builds(sk.Usage, st.just(3), st.integers(0, 5), st.none()),
    st.builds(RoleDelta, st.just("assistant"), indexes),
    st.builds(ResponseStart, st.sampled_from([None, "r-1"]), st.none(), st.sampled_from([None, 7]), st.sampled_from([None, "m"])),
    st.builds(lambda kind, found: kind("secret", *found), decisions, ranges),
    st.builds(lambda found: Retracted("secret", *found, *found), ranges),
    st.just(ProviderNotice("ping")),
    st.just(Reset("another source")),
    st.builds(sk.Finish, st.sampled_from(["stop", "length", "tool_calls", "content_filter", "STOP", "odd"]), indexes),
)  # fmt: skip
CHANNELS = {"text": "content", "thinking": "reasoning"}


PAST_THE_END = (Flagged, Redacted, Blocked, Retracted)
"""Decisions, which may follow the finish reason of their choice."""


@st.composite
def part(draw: st.DrawFn, number: int) -> list[Any]:
    """A part with its text, its deltas and its end."""
    kind = draw(st.sampled_from(["text", "thinking", "server_tool_use"]))
    channel = cast("Any", CHANNELS.get(kind))
    begin = PartStart(kind, number, {"type": kind}, channel)
    texts = draw(st.lists(pieces, max_size=3))
    if kind == "server_tool_use":
        said: list[Any] = [PartDelta(text, "tool_input", number, ("input",)) for text in texts]
    else:
        said = [(sk.TextDelta if kind == "text" else sk.ReasoningDelta)(text) for text in texts]
    signature = {"signature": "c2ln"} if kind == "thinking" else {}
    return [begin, *said, PartEnd(number, signature)]


@st.composite
def answers(draw: st.DrawFn) -> list[Any]:
    """Events of an answer in a legal order, without the end: parts one after another, or deltas of any kind mixed."""
    begun = draw(st.lists(st.just(ResponseStart("r-1", "chat.completion", 1795466043, "m")), max_size=1))
    if draw(st.integers(0, 3)) == 0:
        return [*begun, *(event for number in range(draw(st.integers(1, 4))) for event in draw(part(number)))]
    events: list[Any] = []
    ended: set[int] = set()
    arguments: dict[Any, str] = {}
    for event in draw(st.lists(deltas, max_size=14)):
        index = getattr(event, "index", None)
        if isinstance(event, Reset):
            ended.clear()
            arguments.clear()
        if isinstance(event, sk.ToolCallDelta) and event.type is None:
            key = (event.index, event.tool_index)
            # Call ids are unique, and nothing follows a whole JSON value.
            id = event.id and f"call_{event.tool_index}"
            more = "" if arguments.get(key, "").endswith("}") else event.arguments
            event = sk.ToolCallDelta(event.tool_index, id, event.name, more, event.index)
            arguments[key] = arguments.get(key, "") + event.arguments
        if index not in ended or isinstance(event, PAST_THE_END):
            events.append(event)
        if isinstance(event, sk.Finish):
            ended.add(event.index)
    return [*begun, *events]


def chat(frames: Written) -> None:
    """OpenAI's chunks: valid for its types, read by its accumulator, with `[DONE]` or an error last."""
    *rest, last = frames
    assert (last.data == "[DONE]") or isinstance(last, ErrorFrame)
    state: Any = ChatCompletionStreamState()
    ended: set[int] = set()
    for frame in rest:
        if isinstance(frame, ErrorFrame):
            assert "error" in json.loads(frame.payload)
            continue
        chunk = json.loads(frame.payload)
        for choice in chunk["choices"]:
            # The client's chunk types don't have custom tools yet.
            for call in choice.get("delta", {}).get("tool_calls", ()):
                if custom := call.pop("custom", None):
                    call["function"] = {name.replace("input", "arguments"): value for name, value in custom.items()}
                    call |= {"type": "function"} if "type" in call else {}
        parsed = ChatCompletionChunk.model_validate(chunk)
        state.handle_chunk(parsed)
        for choice in chunk["choices"]:
            assert choice["index"] not in ended
            if choice.get("finish_reason"):
                assert choice["finish_reason"] in ("stop", "length", "tool_calls", "content_filter", "function_call")
                ended.add(choice["index"])


def legacy(frames: Written) -> None:
    """OpenAI's legacy completions."""
    for frame in frames:
        if frame.data != "[DONE]" and not isinstance(frame, ErrorFrame):
            chunk = json.loads(frame.payload)
            # The client's type requires a finish reason in every chunk; OpenAI sends null.
            for choice in chunk["choices"]:
                choice["finish_reason"] = choice["finish_reason"] or "stop"
            Completion.model_validate(chunk)


def messages(frames: Written) -> None:
    """Anthropic's events: valid for its types, one message, consecutive blocks with deltas of their kinds."""
    accepted_anthropic(frames)
    kinds = {"text": {"text_delta", "citations_delta"}, "thinking": {"thinking_delta", "signature_delta"},
             "tool_use": {"input_json_delta"}, "server_tool_use": {"input_json_delta"}}  # fmt: skip
    open_block: tuple[int, str] | None = None
    blocks: list[str] = []
    stopped = False
    for at, frame in enumerate(frames):
        event = json.loads(frame.payload)
        assert frame.event == event["type"]
        assert not stopped
        if event["type"] in ("error", "ping"):
            continue
        MESSAGES.validate_python(event)
        match event["type"]:
            case "message_start":
                assert at == 0
            case "content_block_start":
                assert open_block is None
                assert event["index"] == len(blocks)
                open_block = len(blocks), event["content_block"]["type"]
                blocks.append(open_block[1])
            case "content_block_delta" if open_block is None:
                # A citation that arrived after its text was closed.
                assert event["delta"]["type"] == "citations_delta"
                assert blocks[event["index"]] == "text"
            case "content_block_delta":
                assert open_block is not None
                assert event["index"] == open_block[0]
                assert event["delta"]["type"] in kinds[open_block[1]]
            case "content_block_stop":
                assert open_block is not None
                assert event["index"] == open_block[0]
                open_block = None
            case "message_delta":
                assert open_block is None
            case _:
                stopped = True
    assert stopped or isinstance(frames[-1], ErrorFrame)


def responses(frames: Written) -> None:
    """Events of Responses: valid for OpenAI's types, each item and part opened and closed once, `done` texts equal the deltas."""
    accepted_responses(frames)
    items: dict[int, str] = {}
    texts: dict[tuple[Any, ...], str] = {}
    done: set[int] = set()
    for frame in frames:
        event = json.loads(frame.payload)
        assert frame.event == event["type"]
        failure = (event.get("response") or {}).get("error")
        if failure:
            failure["code"] = "server_error"  # the client's types list only a few codes; its helper accepts any
        if not isinstance(frame, ErrorFrame) or failure:
            RESPONSES[event["type"]].model_validate(event)
        kind = event["type"].removeprefix("response.")
        place = event.get("output_index")
        if kind == "output_item.added":
            assert place == len(items)
            items[place] = event["item"]["id"]
        elif kind == "output_item.done":
            assert place not in done
            assert items[place] == event["item"]["id"]
            done.add(place)
        elif place is not None:
            # Only a citation may arrive after its text was closed.
            assert place not in done or kind == "output_text.annotation.added"
            assert items[place] == event.get("item_id", items[place])
        name, _, act = kind.rpartition(".")
        key = (name, place, event.get("content_index"), event.get("summary_index"))
        if act == "delta":
            texts[key] = texts.get(key, "") + event["delta"]
        elif act == "done" and name in ("output_text", "refusal", "function_call_arguments", "reasoning_summary_text"):
            field = {"refusal": "refusal", "function_call_arguments": "arguments"}.get(name, "text")
            assert event[field] == texts.get(key, "")
    last = json.loads(frames[-1].payload)["type"]
    assert last in ("response.completed", "response.incomplete", "response.failed", "error")
    assert last != "response.completed" or done == items.keys()


CHECKS: dict[str, Callable[[Written], None]] = {
    "openai": chat,
    "openai-legacy": legacy,
    "anthropic": messages,
    "responses": responses,
    "ai-sdk": valid_ai_sdk,
    "ag-ui": valid_ag_ui,
}
each_format = pytest.mark.parametrize("name", CHECKS)
steady = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))


@each_format
@steady
@given(
    events=answers(), end=st.sampled_from(ENDS), cuts=st.lists(st.integers(0, 14), max_size=4), verdicts=st.booleans()
)
def test_any_answer_is_well_formed_however_it_is_split(
    name: str, events: list[Any], end: Any, cuts: list[int], verdicts: bool
) -> None:
    emit = sk.Emit(name, include_usage=True, **({"verdicts": verdicts} if name in ("ai-sdk", "ag-ui") else {}))
    answer = [*events, sk.StreamEnd(end)]

    frames = list(emit.run(answer))

    CHECKS[name](frames)
    failed = any(isinstance(frame, ErrorFrame) for frame in frames)
    assert failed or end in SUCCESSES or end in ("moderated", "cancelled", "content_filter")
    running = emit.fresh()
    places = [0, *sorted({cut for cut in cuts if cut < len(answer)}), len(answer)]
    bursts = [answer[at:to] for at, to in pairwise(places)]
    assert [*(frame for burst in bursts for frame in running.feed_all(burst)), *running.flush()] == frames


@each_format
@steady
@given(events=answers(), at=st.integers(0, 14))
def test_an_answer_cut_by_an_error_is_well_formed(name: str, events: list[Any], at: int) -> None:
    running = sk.Emit(name, include_usage=True).fresh()

    frames = [*running.feed_all(events[:at])]
    if not any(isinstance(frame, ErrorFrame) for frame in frames):
        frames += running.error(INTERNAL)

    CHECKS[name](frames)
    assert sum(isinstance(frame, ErrorFrame) for frame in frames) == 1


PLAIN = (sk.TextDelta, sk.ReasoningDelta, sk.RefusalDelta, sk.Usage, RoleDelta, ProviderNotice)


@pytest.mark.parametrize("name", ["openai", "anthropic", "responses", "ai-sdk", "ag-ui"])
@steady
@given(events=answers())
def test_all_text_of_the_first_choice_is_written(name: str, events: list[Any]) -> None:
    said = [event for event in events if isinstance(event, PLAIN) and getattr(event, "index", 0) == 0]
    text = "".join(event.text for event in said if isinstance(event, sk.TextDelta))
    reasoning = "".join(event.text for event in said if isinstance(event, sk.ReasoningDelta))
    refusal = "".join(event.text for event in said if isinstance(event, sk.RefusalDelta))

    frames = list(sk.Emit(name).run([*said, sk.Finish("stop"), sk.StreamEnd("completed")]))

    found = READERS[name](frames)
    # Some formats have no separate channel for refusals.
    assert sorted(found["text"]) == sorted(text + ("" if "refusal" in found else refusal))
    assert found["reasoning"] == reasoning
    assert found.get("refusal", refusal) == refusal


def _read_chat(frames: Written) -> dict[str, str]:
    found = {"text": "", "reasoning": "", "refusal": ""}
    for chunk in data_of(frames[:-1]):
        for choice in chunk["choices"]:
            delta = choice["delta"]
            for name, field in (("text", "content"), ("reasoning", "reasoning_content"), ("refusal", "refusal")):
                found[name] += delta.get(field) or ""
    return found


def _read_messages(frames: Written) -> dict[str, str]:
    found = {"text": "", "reasoning": ""}
    for event in data_of(frames):
        if event["type"] == "content_block_delta":
            found["text"] += event["delta"].get("text", "")
            found["reasoning"] += event["delta"].get("thinking", "")
    return found


def _read_responses(frames: Written) -> dict[str, str]:
    found = {"text": "", "reasoning": "", "refusal": ""}
    names = {
        "output_text": "text",
        "reasoning_summary_text": "reasoning",
        "reasoning_text": "reasoning",
        "refusal": "refusal",
    }
    for event in data_of(frames):
        kind = event["type"].split(".")[1]
        if event["type"].endswith(".delta") and kind in names:
            found[names[kind]] += event["delta"]
    return found


READERS: dict[str, Callable[[Written], dict[str, Any]]] = {
    "openai": _read_chat,
    "anthropic": _read_messages,
    "responses": _read_responses,
    "ai-sdk": read_ai_sdk,
    "ag-ui": read_ag_ui,
}
