"""check_emitter: it accepts the built-in emitters, and finds each rule that one breaks."""

from collections.abc import Container, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from streamkit.emitters.anthropic import MessagesEmitter
from streamkit.emitters.blocks import Block, BlockEmitter
from streamkit.emitters.emitter import Frame
from streamkit.emitters.failures import ErrorFrame, Failure
from streamkit.events import Completion, EndReason, Event
from streamkit.sse import ServerSentEvent
from streamkit.testing import check_emitter
from streamkit.testing.emitters import ANSWERS


class EndsAsIfComplete(MessagesEmitter):
    def end(self, reason: EndReason) -> Iterable[Frame]:
        return super().end("completed")


class DependsOnBursts(MessagesEmitter):
    def events(self, events: list[Event]) -> Iterable[Frame]:
        return [*super().events(events), ServerSentEvent.of(str(len(events)))]


class Shared(MessagesEmitter):
    numbers: ClassVar[list[int]] = []

    def write(self, block: Block, piece: str) -> Iterable[Frame]:
        self.numbers.append(0)
        return [*super().write(block, piece), ServerSentEvent.of(str(len(self.numbers)))]


class Forgets(MessagesEmitter):
    def restore(self, state: Any) -> None:
        pass


class NotJson(MessagesEmitter):
    def opening(self) -> Iterable[Frame]:
        return [ServerSentEvent.of("hello")]


class TwoErrors(MessagesEmitter):
    def error(self, failure: Failure) -> Iterable[Frame]:
        return [ErrorFrame.with_json(failure, {}), ErrorFrame.with_json(failure, {})]


class Silent(MessagesEmitter):
    def end(self, reason: EndReason) -> Iterable[Frame]:
        return ()

    def opening(self) -> Iterable[Frame]:
        return ()


class WithoutResponse(MessagesEmitter):
    def response(self, completion: Completion, withheld: Container[int] | None) -> dict[str, Any]:
        raise NotImplementedError


class NeedsAChoice(MessagesEmitter):
    def response(self, completion: Completion, withheld: Container[int] | None) -> dict[str, Any]:
        return {"text": completion.choices[0].text}


class AnswersWithText(MessagesEmitter):
    def response(self, completion: Completion, withheld: Container[int] | None) -> Any:
        return completion.text


@dataclass
class StreamsOnly(BlockEmitter):
    """Without a method `response`."""

    def opening(self) -> Iterable[Frame]:
        return [ServerSentEvent.of("{}", "start")]

    def begin(self, block: Block) -> Iterable[Frame]:
        return ()

    def write(self, block: Block, piece: str) -> Iterable[Frame]:
        return [ServerSentEvent.of("1", "piece")] * len(piece)

    def finish(self, block: Block) -> Iterable[Frame]:
        return ()

    def end(self, reason: EndReason) -> Iterable[Frame]:
        return [*self.settle(reason), ServerSentEvent.of("{}", reason)]

    def error(self, failure: Failure) -> Iterable[Frame]:
        return [ErrorFrame.with_json(failure, {})]


class ClaimsAResponse(StreamsOnly):
    streams_only: ClassVar[bool] = False


def test_an_emitter_without_a_response_keeps_the_rules() -> None:
    check_emitter(StreamsOnly)
    assert StreamsOnly.streams_only


@pytest.mark.parametrize("name", ["openai", "openai-legacy"])
def test_the_emitters_of_openai_keep_the_rules(name: str) -> None:
    check_emitter(name)
    check_emitter(name, include_usage=True)


@pytest.mark.parametrize(
    ("emitter", "found"),
    [
        (EndsAsIfComplete, "frames that differ from those of a complete answer"),
        (DependsOnBursts, "the same frames for every split"),
        (Shared, "runs share state"),
        (Forgets, "the same frames after a checkpoint"),
        (NotJson, r"expected JSON or \[DONE\], found 'hello'"),
        (TwoErrors, "expected one ErrorFrame, found 2"),
        (Silent, "at least one frame"),
        (WithoutResponse, "a non-streaming response, found NotImplementedError"),
        (NeedsAChoice, "a non-streaming response, found IndexError"),
        (AnswersWithText, "a non-streaming response of type dict, found an object of type str"),
        (ClaimsAResponse, "found PipelineError: ClaimsAResponse has no non-streaming response: implement `response`"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_an_emitter_that_breaks_a_rule_is_found(emitter: Any, found: str) -> None:
    with pytest.raises(AssertionError, match=found) as caught:
        check_emitter(emitter)
    assert any(note.startswith("answer ") for note in caught.value.__notes__)


def test_what_a_client_refuses_is_raised() -> None:
    def refuse(frames: list[ServerSentEvent]) -> None:
        raise ValueError("not in the schema")

    with pytest.raises(ValueError, match="not in the schema"):
        check_emitter("anthropic", validate=refuse)


def test_a_function_is_checked() -> None:
    check_emitter(lambda settings: MessagesEmitter(settings), {"text": ANSWERS["text"]})
    with pytest.raises(AssertionError, match="at least one frame"):
        check_emitter(lambda settings: Silent(settings))
