"""The output for each input of a batch: a `Result`, or a `DeadLetter` if the input can't be read as a response."""

from decimal import Decimal
from typing import Any, TypeAlias

import msgspec

from streamkit.batch.exchange import read_line
from streamkit.batch.inputs import Input
from streamkit.batch.pipeline import AnyPipeline
from streamkit.completion import Channel, Choice, Completion, EndReason, ToolCall, VerdictAction, VerdictSource
from streamkit.core.engine import with_inner
from streamkit.core.stream import Stream
from streamkit.errors import Disconnected, PipelineError, ProtocolError, ProviderError, StreamkitError
from streamkit.events import Blocked, Event, Flagged, Redacted, StreamEnd, StructuredOutput, Timings, UsageReport
from streamkit.sources.recording import recorded_id
from streamkit.sources.replay import Recorded
from streamkit.stages.accumulate import Accumulate
from streamkit.stages.count import Count
from streamkit.stages.timing import Timing

Verdict: TypeAlias = Flagged | Redacted | Blocked


class Flag(msgspec.Struct, frozen=True):
    """A moderation verdict, without the matched text."""

    action: VerdictAction
    """The decision."""
    category: str
    """The category of the rule or the classifier."""
    start: int
    """Offset in code points of the channel's original text."""
    end: int
    """End offset, exclusive."""
    channel: Channel = "content"
    """The channel of the text."""
    index: int = 0
    """The index of the choice."""
    severity: str | None = None
    """The severity of the rule or the decision."""
    tool_index: int | None = None
    """The index of the tool call, in the channels of tool calls."""
    source: VerdictSource = "rules"
    """The origin of the decision: rules, a classifier or the provider."""


class OtherChoice(msgspec.Struct, frozen=True):
    """A further choice, of a request for several."""

    index: int
    """The index of the choice, from 1."""
    text: str | None
    """The text."""
    finish_reason: str | None = None
    """The provider's finish reason."""
    reasoning: str | None = None
    """The visible reasoning."""
    refusal: str | None = None
    """The text of the refusal."""
    tool_calls: tuple[ToolCall, ...] = ()
    """The tool calls, in order."""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the results: the outcome of the pipeline for one exchange, the same as of a live run.

    `input`, `offset` and `line` locate the exchange; `id` is its own id. Unknown values are null: `tokens` without `Count`,
    `flagged` without moderation, times of a body without arrival times. `error` is the error of a broken connection or of the
    provider. A truncated recording is a result, not a dead letter.
    """

    input: str
    offset: int = 0
    line: int | None = None
    id: str | None = None
    end: EndReason
    """`StreamEnd.reason`."""
    provider_reason: str | None = None
    """`StreamEnd.provider_reason`."""
    error: str | None = None
    model: str | None = None
    """The model of the response."""
    response_id: str | None = None
    """The provider's id of the response."""
    text: str | None = None
    """The text of the first choice."""
    reasoning: str | None = None
    """The visible reasoning of the first choice."""
    refusal: str | None = None
    """The refusal of the first choice."""
    tool_calls: tuple[ToolCall, ...] = ()
    """The tool calls of the first choice."""
    choices: tuple[OtherChoice, ...] = ()
    """The other choices."""
    output: Any = None
    """The object of `Structured`."""
    tokens: int | None = None
    prompt_tokens: int | None = None
    """The number reported by the provider."""
    completion_tokens: int | None = None
    """The number reported by the provider."""
    total_tokens: int | None = None
    """The number reported by the provider."""
    usage: dict[str, Any] | None = None
    """The provider's usage object."""
    cost: Decimal | None = None
    """The cost by the prices of `Count`."""
    currency: str | None = None
    """The currency of the cost."""
    flagged: bool | None = None
    flags: tuple[Flag, ...] = ()
    """All moderation verdicts."""
    first_byte_seconds: float | None = None
    """Seconds from the request to the first byte."""
    first_token_seconds: float | None = None
    """Seconds from the request to the first content."""
    seconds: float | None = None
    """Seconds from the request to the end."""


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the dead letters: an input without a result, and the reason.

    `offset` is the offset of the exchange in its file; `body_line` and `body_offset` are the position of the error within the
    exchange, if known. `reason` contains no text of the response.
    """

    input: str
    """The file."""
    offset: int = 0
    line: int | None = None
    """The line in the file, from 1."""
    id: str | None = None
    """The id of the exchange."""
    error: str
    """The class of the error."""
    reason: str
    body_line: int | None = None
    body_offset: int | None = None


async def read(pipeline: AnyPipeline, found: Input, folder: str) -> Result | DeadLetter:
    """Run the pipeline over one input. Raises `PipelineError` if the pipeline can't run here, for any input."""
    id: str | None = None
    try:
        content = found.read(folder)
        if found.line is not None:
            id, content = read_line(content)
        else:
            id = recorded_id(content)
        return await _result(pipeline.open(Recorded(content, found.name)), found, id)
    # A module missing on this worker is missing for every input.
    except ImportError as error:
        raise PipelineError(f"a worker can't run the pipeline: {type(error).__name__}: {error}") from error
    # Any other error, also of a stage, must not stop the other inputs.
    except Exception as error:
        return _dead_letter(error, found, id)


async def _result(stream: Stream[Event], found: Input, id: str | None) -> Result:
    verdicts: list[Verdict] = []
    output, failure = None, None
    try:
        async with stream as events:
            async for event in events:
                match event:
                    case Flagged() | Redacted() | Blocked():
                        verdicts.append(event)
                    case StructuredOutput(value=value):
                        output = msgspec.to_builtins(value)
                    case _:
                        pass
    # A recorded failure is a result; an unreadable input is not.
    except (Disconnected, ProviderError) as error:
        failure = f"{type(error).__name__}: {error}"
    end = stream.end or StreamEnd("error")
    completion, timings = stream.stage(Accumulate).snapshot, stream.stage(Timing).timings
    return Result(
        input=found.name,
        offset=found.offset,
        line=found.line,
        id=id,
        end=end.reason,
        provider_reason=end.provider_reason,
        error=failure,
        output=output,
        flagged=bool(verdicts) if verdicts or _moderates(stream) else None,
        flags=tuple(map(_flag, verdicts)),
        **_answer(completion),
        **_cost(stream),
        **_times(timings),
    )


def _answer(completion: Completion) -> dict[str, Any]:
    first, *others = completion.choices or (Choice(0),)
    return {
        "model": completion.model,
        "response_id": completion.id,
        "text": first.content,
        "reasoning": first.reasoning,
        "refusal": first.refusal,
        "tool_calls": first.tool_calls,
        "choices": tuple(map(_other, others)),
        "usage": completion.usage.to_dict() if completion.usage else None,
        "prompt_tokens": completion.usage.prompt_tokens if completion.usage else None,
        "completion_tokens": completion.usage.completion_tokens if completion.usage else None,
        "total_tokens": completion.usage.total_tokens if completion.usage else None,
    }


def _other(choice: Choice) -> OtherChoice:
    return OtherChoice(
        choice.index, choice.content, choice.finish_reason, choice.reasoning, choice.refusal, choice.tool_calls
    )


def _cost(stream: Stream[Event]) -> dict[str, Any]:
    """Return tokens, cost and currency of `Count`; empty without one."""
    if not any(isinstance(stage, Count) for stage in with_inner(stream.stages)):
        return {}
    count = stream.stage(Count)
    report: UsageReport = count.report
    return {"tokens": count.tokens(), "cost": report.cost, "currency": report.currency}


def _times(timings: Timings) -> dict[str, Any]:
    return {
        "first_byte_seconds": timings.first_byte,
        "first_token_seconds": timings.first_content,
        "seconds": timings.total,
    }


def _flag(verdict: Verdict) -> Flag:
    return Flag(
        verdict.action,
        verdict.category,
        verdict.start,
        verdict.end,
        verdict.channel,
        verdict.index,
        verdict.severity,
        verdict.tool_index,
        verdict.source,
    )


def _moderates(stream: Stream[Event]) -> bool:
    return any(stage.moderates for stage in with_inner(stream.stages))


def _dead_letter(error: Exception, found: Input, id: str | None) -> DeadLetter:
    return DeadLetter(
        input=found.name,
        offset=found.offset,
        line=found.line,
        id=id,
        error=type(error).__name__,
        reason=str(error) if isinstance(error, StreamkitError) else _foreign(error),
        body_line=error.line if isinstance(error, ProtocolError) else None,
        body_offset=error.offset if isinstance(error, ProtocolError) else None,
    )


def _foreign(error: Exception) -> str:
    # The message of a foreign exception may quote the response; the notes are added by streamkit and name the stage.
    notes = [note for note in getattr(error, "__notes__", ()) if isinstance(note, str) and note.startswith("in stage")]
    return "; ".join(["a stage raised an exception", *notes])
