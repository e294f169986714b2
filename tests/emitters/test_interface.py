"""Properties of all emitters: their names, the laws, and blocks that never interleave."""

import json
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamkit as sk
from streamkit.emitters.ai_sdk import UIMessagesEmitter
from streamkit.emitters.anthropic import MessagesEmitter
from streamkit.emitters.emitter import Settings
from streamkit.emitters.failures import ErrorFrame
from streamkit.emitters.registry import BUILT_IN, emitter_named, emitter_names
from streamkit.errors import PipelineError
from streamkit.events import PartEnd, PartStart
from streamkit.sse import ServerSentEvent
from tests.cli.packages import install
from tests.emitters.kit import data_of, last_response, read_message
from tests.emitters.test_ag_ui import valid as valid_ag_ui
from tests.emitters.test_ai_sdk import valid as valid_ai_sdk

DONE = sk.StreamEnd("completed", saw_done=True)
NAMES = sorted(BUILT_IN)
BLOCKS = ["ag-ui", "ai-sdk", "anthropic", "responses"]


def finished(frames: list[ServerSentEvent]) -> None:
    """Raise for OpenAI chunks that do not end with a finish reason and `[DONE]`."""
    *chunks, done = data_of(frames)
    reasons = [choice["finish_reason"] for chunk in chunks for choice in chunk["choices"]]
    assert done == "[DONE]"
    assert reasons[-1] in ("stop", "length", "tool_calls", "content_filter")
    assert set(reasons[:-1]) == {None}


CLIENTS: dict[str, Callable[[list[ServerSentEvent]], object]] = {
    "ag-ui": valid_ag_ui,
    "ai-sdk": valid_ai_sdk,
    "anthropic": read_message,
    "openai": finished,
    "openai-legacy": finished,
    "responses": last_response,
}
"""Readers or validators of the frames of each format."""
PLUGIN = '''
from streamkit.emitters.blocks import BlockEmitter
from streamkit.emitters.failures import ErrorFrame
from streamkit.sse import ServerSentEvent

class Lines(BlockEmitter):
    """Each piece of the text is an event of its own."""

    def opening(self):
        return ()

    def begin(self, block):
        return ()

    def write(self, block, piece):
        return [ServerSentEvent.of('"text"', block.kind)]

    def finish(self, block):
        return ()

    def end(self, reason):
        return [*self.settle(reason), ServerSentEvent.of("{}", reason)]

    def error(self, failure):
        return [ErrorFrame.with_json(failure, failure.message, "error")]
'''


def texts() -> st.SearchStrategy[str]:
    return st.text(alphabet='a{}[]":\\ \n\u2028é\U0001f600', max_size=6)


def event_lists() -> st.SearchStrategy[list[sk.Event]]:
    """Events in any order, including that of parts and calls, as far as a provider could send it."""
    index = st.sampled_from([0, 0, 0, 1])
    event: st.SearchStrategy[Any] = st.one_of(
        st.builds(sk.TextDelta, texts().filter(bool), index),
        st.builds(sk.ReasoningDelta, texts().filter(bool), index),
        st.builds(sk.RefusalDelta, texts().filter(bool), index),
        st.builds(
            sk.ToolCallDelta,
            st.integers(0, 2),
            st.none() | st.just("call"),
            st.none() | st.just("f"),
            texts(),
            index,
            st.none() | st.just("custom"),
        ),
        st.builds(
            PartStart,
            st.just("a"),
            st.integers(0, 3),
            st.just({}),
            st.sampled_from(["content", "reasoning", None]),
            st.none(),
            st.none() | st.integers(4, 5),
        ),
        st.builds(
            PartStart, st.just("tool_use"), st.integers(6, 8), st.just({}), st.just("tool_arguments"), st.integers(0, 2)
        ),
        st.builds(PartEnd, st.integers(0, 8), st.sampled_from([{}, {"signature": "s"}])),
        st.builds(sk.Finish, st.sampled_from(["stop", "length", "no word"]), index),
        st.builds(sk.Blocked, st.just("secret"), st.just(0), st.just(1)),
        st.builds(sk.events.Reset, st.just("again")),
    )
    return st.lists(event, max_size=12)


def run(emit: sk.Emit, bursts: list[list[sk.Event]]) -> tuple[list[ServerSentEvent], type[Exception] | None]:
    """Return the frames, and the type of the error that followed them, if any."""
    running, frames = emit.fresh(), list[ServerSentEvent]()
    try:
        for burst in bursts:
            for frame in running.feed_all(burst):
                frames.append(frame)
    except sk.errors.ProtocolError as error:
        return frames, type(error)
    return [*frames, *running.flush()], None


@pytest.mark.parametrize("name", NAMES)
@given(
    events=event_lists(), end=st.sampled_from([DONE, sk.StreamEnd("truncated"), sk.StreamEnd("length")]), data=st.data()
)
def test_any_split_gives_the_same_frames(
    name: str, events: list[sk.Event], end: sk.StreamEnd, data: st.DataObject
) -> None:
    items = [*events, end]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(items)), max_size=4)))
    bursts = [items[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(items)], strict=True)]
    assert run(sk.Emit(name), bursts) == run(sk.Emit(name), [items])


def blocks_of(name: str, frames: list[ServerSentEvent]) -> Iterator[tuple[str, Any]]:
    """Yield the block of each frame, and whether the frame starts, continues or ends it."""
    for data in data_of(frames):
        match data:
            case {
                "type": "content_block_start" | "content_block_delta" | "content_block_stop" as kind,
                "index": number,
            }:
                yield kind.rpartition("_")[2].replace("stop", "end"), number
            case {"type": "response.output_item.added", "output_index": number}:
                yield "start", number
            case {"type": "response.output_item.done", "output_index": number}:
                yield "end", number
            case {"type": str() as kind, "output_index": number} if kind.endswith("delta"):
                yield "delta", number
            case _:
                pass


@pytest.mark.parametrize("name", ["anthropic", "responses"])
@given(events=event_lists())
def test_blocks_never_interleave_and_are_numbered_in_order(name: str, events: list[sk.Event]) -> None:
    frames, _ = run(sk.Emit(name), [[*events, DONE]])
    opened, current = 0, None
    for act, number in blocks_of(name, frames):
        if act == "start":
            assert (current, number) == (None, opened)
            opened, current = opened + 1, number
        else:
            assert number == current
            current = None if act == "end" else current


@pytest.mark.parametrize(("name", "valid"), [("ai-sdk", valid_ai_sdk), ("ag-ui", valid_ag_ui)])
@given(events=event_lists())
def test_parts_are_opened_and_closed_in_any_order_of_events(name: str, valid: Any, events: list[sk.Event]) -> None:
    frames, error = run(sk.Emit(name), [[*events, DONE]])
    if error is None and frames:
        valid(frames)


@pytest.mark.parametrize("name", BLOCKS)
@given(events=event_lists())
def test_no_text_of_the_answer_is_lost(name: str, events: list[sk.Event]) -> None:
    kept: list[sk.Event] = [event for event in events if not isinstance(event, sk.events.Reset)]
    frames, error = run(sk.Emit(name), [[*kept, DONE]])
    deltas = [event.text for event in kept if isinstance(event, sk.TextDelta) and event.index == 0]
    if error is None:
        written = "".join(
            data.get("delta", "") if isinstance(data.get("delta"), str) else data["delta"].get("text", "")
            for data in data_of(frames)
            if data != "[DONE]"
            and data["type"]
            in ("text-delta", "TEXT_MESSAGE_CONTENT", "response.output_text.delta", "content_block_delta")
        )
        refusals = [event.text for event in kept if isinstance(event, sk.RefusalDelta) and event.index == 0]
        expected = sorted("".join(deltas)) if name == "responses" else sorted("".join([*deltas, *refusals]))
        assert sorted(written) == expected


@pytest.mark.parametrize("mode", ["hold", "optimistic"])
@pytest.mark.parametrize("action", ["annotate", "redact", "replace", "block", "stop"])
@pytest.mark.parametrize("name", NAMES)
def test_a_moderated_answer_ends_well_formed_without_the_withheld_text(name: str, action: Any, mode: Any) -> None:
    moderate = sk.Moderate(sk.Rule("secret", phrases=["blue heron"], action=action), mode=mode)
    answer: list[sk.Event] = [
        sk.ReasoningDelta("Hm"),
        sk.TextDelta("The code is blue "),
        sk.TextDelta("heron, as ever"),
        sk.ToolCallDelta(0, "call_1", "f", '{"say": "blue heron"}'),
        sk.Finish("tool_calls"),
        sk.StreamEnd("tool_calls"),
    ]
    frames = list((moderate | sk.Emit(name, verdicts=True)).run(answer))
    CLIENTS[name](frames)
    written = "".join(frame.data for frame in frames)
    assert mode == "optimistic" or action == "annotate" or "heron" not in written
    assert not any(isinstance(frame, ErrorFrame) for frame in frames)


def test_the_names_of_all_emitters() -> None:
    assert emitter_names() == ["ag-ui", "ai-sdk", "anthropic", "openai", "openai-legacy", "responses"]


def test_an_unknown_name_is_rejected_with_the_known_ones() -> None:
    with pytest.raises(PipelineError, match=r"expected one of the emitters ag-ui, ai-sdk, .*; found 'morse'"):
        sk.Emit("morse")


def test_an_emitter_of_an_installed_package_is_used_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "lines-emitter", {"lines": "Lines"}, PLUGIN, "emitters")
    monkeypatch.syspath_prepend(tmp_path)
    frames = list(sk.Emit("lines").run([sk.TextDelta("a"), sk.TextDelta("b"), DONE]))
    assert [(frame.event, frame.data) for frame in frames] == [
        ("text", '"text"'),
        ("text", '"text"'),
        ("completed", "{}"),
    ]
    assert "lines" in emitter_names()


def test_an_emitter_can_be_named_by_its_module() -> None:
    place = BUILT_IN["anthropic"]
    assert emitter_named(place) is emitter_named("anthropic")


def test_an_emitter_can_be_a_class_or_a_function() -> None:
    answer = [sk.TextDelta("a"), sk.Finish("stop"), DONE]
    expected = list(sk.Emit("anthropic", id="1").run(answer))
    assert list(sk.Emit(MessagesEmitter, id="1").run(answer)) == expected
    assert list(sk.Emit(lambda settings: MessagesEmitter(settings), id="1").run(answer)) == expected
    assert list(pickle.loads(pickle.dumps(sk.Emit(MessagesEmitter, id="1"))).run(answer)) == expected


def test_the_response_of_a_class_that_only_streams_is_rejected_with_its_name() -> None:
    with pytest.raises(PipelineError, match="found UIMessagesEmitter, which only streams"):
        sk.Emit(UIMessagesEmitter).response(sk.Completion())


@pytest.mark.parametrize(
    ("emitter", "found"),
    [
        (
            MessagesEmitter(Settings()),
            "a class or function that takes Settings, found an object of type MessagesEmitter",
        ),
        (7, "found an object of type int"),
        (None, "found an object of type NoneType"),
        (sk.Emit, "a class or function that takes Settings, found an object of type Settings"),
        (
            lambda settings: sk.Emit(),
            "from <lambda>, found an object of type Emit, which has no head, events, block, restart, end",
        ),
        ("builtins:str", "from builtins:str, found an object of type str, which has no headers"),
        (type("Half", (MessagesEmitter,), {"keep_alive": property()}), "from Half, .*, which has no keep_alive$"),
    ],
)
def test_an_object_that_is_no_emitter_is_rejected(emitter: Any, found: str) -> None:
    with pytest.raises(PipelineError, match=found):
        sk.Emit(emitter)


@pytest.mark.parametrize("name", BLOCKS)
def test_a_restart_after_text_fails(name: str) -> None:
    reset = sk.events.Reset("another source")
    again = list(sk.Emit(name).run([sk.TextDelta("a"), reset, sk.TextDelta("b"), DONE]))
    assert "was restarted" in "".join(frame.data for frame in again)
    anew = list(sk.Emit(name).run([reset, sk.TextDelta("b"), DONE]))
    assert "was restarted" not in "".join(frame.data for frame in anew)


@pytest.mark.parametrize("name", NAMES)
def test_a_restart_before_any_frame_leaves_nothing_of_the_discarded_answer(name: str) -> None:
    discarded = [
        sk.events.ResponseStart("msg_1", None, 1, "claude", service_tier="standard"),
        sk.events.ResponseDetails({"type": "message", "container": {"id": "c"}, "stop_sequence": "X"}, "anthropic"),
        sk.events.Reset("another source"),
    ]
    answer = [sk.events.ResponseStart("b", None, 2, "gpt"), sk.TextDelta("hi"), sk.Finish("stop"), DONE]

    assert list(sk.Emit(name).run([*discarded, *answer])) == list(sk.Emit(name).run(answer))


@pytest.mark.parametrize("name", sorted({*NAMES} - {"openai-legacy"}))
def test_a_restart_after_the_head_keeps_the_identity_that_was_written(name: str) -> None:
    start = [sk.events.ResponseStart("a", None, 1, "claude"), sk.events.PartStart("text", 0, {}, "content")]
    head = data_of(sk.Emit(name).run([*start, sk.events.RoleDelta("assistant"), sk.StreamEnd("truncated")]))[0]
    again = [sk.events.Reset("another source"), sk.events.ResponseStart("b", None, 2, "gpt"), sk.TextDelta("hi"), DONE]

    frames = data_of(sk.Emit(name).run([*start, sk.events.RoleDelta("assistant"), *again]))

    assert frames[0] == head
    assert '"gpt"' not in json.dumps(frames)


def test_a_value_that_is_not_json_raises_after_the_written_frames() -> None:
    running = sk.Emit("anthropic").fresh()
    frames = iter(running.feed_all([sk.TextDelta("a"), sk.TextDelta("\ud800")]))
    assert [json.loads(next(frames).payload)["type"] for _ in range(3)][-1] == "content_block_delta"
    with pytest.raises(ValueError, match="surrogates"):
        next(frames)
