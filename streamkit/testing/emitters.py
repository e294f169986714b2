"""The rules for emitters, as a check for any emitter."""

import json
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias, cast, get_args

import msgspec

from streamkit import (
    Accumulate,
    Emit,
    Event,
    ReasoningDelta,
    RefusalDelta,
    StreamEnd,
    TextDelta,
    ToolCallDelta,
)
from streamkit.completion import SUCCESSES, EndReason
from streamkit.core.wrong_input import kind_of
from streamkit.emitters.emitter import MakeEmitter
from streamkit.emitters.failures import INTERNAL, ErrorFrame
from streamkit.emitters.withheld import WithheldChoices
from streamkit.events import (
    Annotation,
    Blocked,
    Finish,
    Flagged,
    PartDelta,
    PartEnd,
    PartStart,
    Redacted,
    Reset,
    ResponseDetails,
    ResponseStart,
    RoleDelta,
    Usage,
)
from streamkit.sse.encode import Encode
from streamkit.sse.events import ServerSentEvent
from streamkit.testing.laws import Unknown

Validate: TypeAlias = Callable[[list[ServerSentEvent]], object]
"""Receives all frames of one response, and raises if a client of the format would reject them."""

_START: list[Event] = [ResponseStart("resp-1", "chat.completion", 1795466043, "some-model"), RoleDelta("assistant")]
_USAGE = Usage(3, 2, 5, {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5})
ANSWERS: Mapping[str, list[Event]] = {
    "nothing": [],
    "text": [*_START, TextDelta("Po\u2028"), TextDelta('ng "\n\U0001f600'), Finish("stop"), _USAGE],
    "reasoning, text and reasoning": [*_START, ReasoningDelta("Hm"), TextDelta("a"), ReasoningDelta("b")],
    "a refusal": [*_START, RefusalDelta("I'm "), RefusalDelta("sorry"), Finish("stop")],
    "a text and calls one after the other": [
        TextDelta("Let me look."),
        ToolCallDelta(0, "call_1", "look", ""),
        ToolCallDelta(0, arguments='{"a": "}'),
        ToolCallDelta(0, arguments='\\""}'),
        ToolCallDelta(1, "call_2", "look", "{}"),
        Finish("tool_calls"),
        _USAGE,
    ],
    "calls whose pieces alternate": [
        ToolCallDelta(0, "call_1", "one", '{"a":'),
        ToolCallDelta(1, "call_2", "two", '{"b":'),
        ToolCallDelta(0, arguments="1}"),
        TextDelta("and text"),
        ToolCallDelta(1, arguments="2}"),
        ReasoningDelta("and thoughts"),
    ],
    "calls without ids and arguments": [ToolCallDelta(0, name="now"), ToolCallDelta(1, name="now"), Finish("stop")],
    "arguments that are no JSON": [ToolCallDelta(0, "call_1", "f", "{not"), ToolCallDelta(0, arguments=" JSON")],
    "a custom tool": [ToolCallDelta(0, "call_1", "run", 'print("', type="custom"), ToolCallDelta(0, arguments='é")\n')],
    "parts": [
        PartStart("thinking", 0, {"type": "thinking"}, "reasoning"),
        ReasoningDelta("Hm"),
        PartEnd(0, {"signature": "c2lnbmVk"}),
        PartStart("text", 1, {"type": "text"}, "content"),
        TextDelta("a"),
        Annotation({"type": "url_citation", "url": "https://example.com", "title": "t"}, part=1),
        PartEnd(1),
        PartStart("text", 2, {"type": "text"}, "content"),
        TextDelta("b"),
        PartEnd(2),
        PartStart("tool_use", 3, {"type": "tool_use"}, "tool_arguments", 0),
        ToolCallDelta(0, "call_1", "f"),
        PartEnd(3),
    ],
    "a tool that the provider runs": [
        ResponseDetails({"type": "message"}, "anthropic"),
        PartStart("server_tool_use", 0, {"type": "server_tool_use", "id": "srvtoolu_1", "name": "search", "input": {}}),
        PartDelta('{"query":', "tool_input", 0, ("input",), json=True),
        PartDelta(' "a"}', "tool_input", 0, ("input",), json=True),
        PartEnd(0),
        TextDelta("a"),
    ],
    "two choices": [TextDelta("a"), TextDelta("b", 1), Finish("stop"), TextDelta("c", 1), Finish("stop", 1)],
    "moderated": [
        TextDelta("My key is "),
        Flagged("tone", 0, 2),
        Redacted("secret", 10, 17),
        TextDelta("[redacted]"),
        Blocked("secret", 17, 24),
        Finish("content_filter"),
    ],
    "begun again": [*_START, Reset("another source"), *_START, TextDelta("a"), Finish("stop")],
    "begun again after text": [*_START, TextDelta("a"), Reset("another source"), TextDelta("b"), Finish("stop")],
    "an identity that comes late": [TextDelta("a"), *_START, TextDelta("b"), Finish("stop")],
    "an event of an unknown kind": [cast("Event", Unknown(1)), TextDelta("a"), cast("Event", Unknown(2))],
}
"""Sequences of events without an end, one for each case that an emitter must handle."""
ENDS: tuple[EndReason, ...] = get_args(EndReason)


def check_emitter(
    emitter: str | MakeEmitter,
    answers: Mapping[str, list[Event]] = ANSWERS,
    *,
    validate: Validate = lambda frames: None,
    **options: Any,
) -> None:
    """Check an emitter against the rules of `Emitter`, with each of the `answers`, every end reason and many splits.

    `emitter` is a name, a class or a function. `validate` receives the frames of one response, and raises if a
    client of the format would reject them; without it, only the rules common to all formats are checked. `options` are those of
    `Emit`. Unless the emitter is `streams_only`, its non-streaming response to each answer must be a JSON object. A violation
    raises `AssertionError`, with a note that names the answer and the end.
    """
    emit = Emit(emitter, **options)
    for answer, events in answers.items():
        successes = [_written(emit, [*events, StreamEnd(end)]) for end in ENDS if end in SUCCESSES]
        for end in ENDS:
            with _noted(f"answer {answer!r}, end {end!r}"):
                _check(emit, [*events, StreamEnd(end)], validate)
                if end not in SUCCESSES:
                    _check_failure(_written(emit, [*events, StreamEnd(end)]), successes)
                elif not emit.streams_only:
                    _check_response(emit, [*events, StreamEnd(end)])
        with _noted(f"answer {answer!r}, without an end"):
            _check_failure(list(emit.run(events)), successes)
        with _noted(f"answer {answer!r}, broken off by an error"):
            _check_error(emit, events, validate)


@contextmanager
def _noted(note: str) -> Generator[None, None, None]:
    """Add a note to any exception raised in the block."""
    try:
        yield
    except BaseException as error:
        error.add_note(note)
        raise


def _written(emit: Emit, events: list[Event]) -> list[ServerSentEvent]:
    return list(emit.run(events))


def _check(emit: Emit, events: list[Event], validate: Validate) -> None:
    frames = _written(emit, events)
    assert b"".join(map(bytes, Encode().run(frames))), "expected at least one frame"
    for frame in frames:
        assert frame.data == "[DONE]" or _is_json(frame.payload), f"expected JSON or [DONE], found {frame.data[:80]!r}"
    assert _written(emit, events) == frames, "expected the same frames from a second run: runs share state"
    assert _written(emit, [*events, TextDelta("after the end"), StreamEnd("completed")]) == frames, (
        "expected nothing after the end"
    )
    for bursts in _splits(events):
        running = emit.fresh()
        found = [frame for burst in bursts for frame in running.feed_all(burst)]
        assert [*found, *running.flush()] == frames, "expected the same frames for every split"
    for at in range(0, len(events) + 1, max(1, len(events) // 20)):
        assert _resumed(emit, events, at) == frames, "expected the same frames after a checkpoint"
    validate(frames)


def _check_failure(frames: list[ServerSentEvent], successes: Iterable[list[ServerSentEvent]]) -> None:
    if any(isinstance(frame, ErrorFrame) for frame in frames):
        return
    found = set(frames)
    assert not any(found.issuperset(frames_of_a_success) for frames_of_a_success in successes), (
        "expected frames that differ from those of a complete answer"
    )


def _check_error(emit: Emit, events: list[Event], validate: Validate) -> None:
    running = emit.fresh()
    frames = [*running.feed_all(events)]
    if not any(isinstance(frame, ErrorFrame) for frame in frames):
        frames += running.error(INTERNAL)
    errors = [frame for frame in frames if isinstance(frame, ErrorFrame)]
    assert len(errors) == 1, f"expected one ErrorFrame, found {len(errors)}"
    assert _is_json(errors[0].payload), "expected JSON in the ErrorFrame, which is also the body of a response"
    assert [*running.flush()] == [], "expected nothing after an error"
    validate(frames)


def _check_response(emit: Emit, events: list[Event]) -> None:
    """Check the response to a request without `stream: true`, as the sinks write it."""
    accumulate, withheld = Accumulate(), WithheldChoices()
    for event in events:
        accumulate.feed(event)
        withheld.feed(event)
    for choices in (None, withheld.choices):
        try:
            response = msgspec.to_builtins(emit.fresh().response(accumulate.snapshot, choices))
            payload = msgspec.json.encode(response)
        except Exception as error:
            raise AssertionError(f"expected a non-streaming response, found {type(error).__name__}: {error}") from error
        assert isinstance(response, dict), f"expected a non-streaming response of type dict, found {kind_of(response)}"
        assert _is_json(payload), "expected JSON in the non-streaming response"


def _splits(events: list[Event]) -> Iterator[list[list[Event]]]:
    yield [[event] for event in events]
    for at in range(1, len(events), max(1, len(events) // 20)):
        yield [events[:at], [], events[at:]]


def _resumed(emit: Emit, events: list[Event], at: int) -> list[ServerSentEvent]:
    first, then = emit.fresh(), emit.fresh()
    frames = [*first.feed_all(events[:at])]
    then.restore(json.loads(msgspec.json.encode(first.state())))
    return [*frames, *then.feed_all(events[at:]), *then.flush()]


def _is_json(payload: bytes) -> bool:
    try:
        msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeError):
        return False
    return True
