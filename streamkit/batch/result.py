"""The output for each input of a batch: a `Result`, or a `DeadLetter` if it can't be read as an answer."""

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
from streamkit.sources.replay import Recorded
from streamkit.stages.accumulate import Accumulate
from streamkit.stages.count import Count
from streamkit.stages.timing import Timing

Verdict: TypeAlias = Flagged | Redacted | Blocked


class Flag(msgspec.Struct, frozen=True):
    """A verdict of moderation; positions are those of the verdict event. The matched text is not in it."""

    action: VerdictAction
    """The decision."""
    category: str
    """The rule's or the classifier's."""
    start: int
    """In code points of the channel's original text."""
    end: int
    """Where it ends."""
    channel: Channel = "content"
    """The channel that the text is in."""
    index: int = 0
    """The choice's number."""
    severity: str | None = None
    """That of the rule or the decision."""
    tool_index: int | None = None
    """The call, in the channels of tool calls."""
    source: VerdictSource = "rules"
    """Who decided."""


class OtherChoice(msgspec.Struct, frozen=True):
    """An answer beside the first, of a request for several."""

    index: int
    """The choice's number, from 1."""
    text: str | None
    """Its text."""
    finish_reason: str | None = None
    """The provider's word."""
    reasoning: str | None = None
    """The visible reasoning."""
    refusal: str | None = None
    """The refusal's text."""
    tool_calls: tuple[ToolCall, ...] = ()
    """In their order."""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the results: what a live run of the pipeline would have given.

    `input`, `offset` and `line` are where the exchange is, `id` is its own. What is not known is null: `tokens` without `Count`,
    `flagged` without moderation, times of a body without times. `error` is that of a stream that broke off, or of the
    provider; a truncated recording is a result.
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
    """The model that answered."""
    response_id: str | None = None
    """The provider's id of the response."""
    text: str | None = None
    """The first choice's text."""
    reasoning: str | None = None
    """Its visible reasoning."""
    refusal: str | None = None
    """Its refusal."""
    tool_calls: tuple[ToolCall, ...] = ()
    """Its tool calls."""
    choices: tuple[OtherChoice, ...] = ()
    """The other choices."""
    output: Any = None
    """The object of `Structured`."""
    tokens: int | None = None
    prompt_tokens: int | None = None
    """As the provider reports it, or counted here."""
    completion_tokens: int | None = None
    """As the provider reports it, or counted here."""
    total_tokens: int | None = None
    """As the provider reports it."""
    usage: dict[str, Any] | None = None
    """The provider's own object."""
    cost: Decimal | None = None
    """By the prices given to `Count`."""
    currency: str | None = None
    """That of the cost."""
    flagged: bool | None = None
    flags: tuple[Flag, ...] = ()
    """Every verdict of moderation."""
    first_byte_seconds: float | None = None
    """From the request to the first byte."""
    first_token_seconds: float | None = None
    """From the request to the first content."""
    seconds: float | None = None
    """From the request to the end."""


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the dead letters: an input that gave no result, and why.

    `offset` is that of the exchange in its file; `body_line` and `body_offset` are the place of the damage within the
    exchange, where it is known. `reason` holds no text of the answer.
    """

    input: str
    """The file."""
    offset: int = 0
    line: int | None = None
    """The line in the file, from 1."""
    id: str | None = None
    """The exchange's own id."""
    error: str
    """The class of the error."""
    reason: str
    body_line: int | None = None
    body_offset: int | None = None


async def read(pipeline: AnyPipeline, found: Input, folder: str) -> Result | DeadLetter:
    """Run the pipeline over one input. `PipelineError` if that can't be done here, whatever the input."""
    id: str | None = None
    try:
        content = found.read(folder)
        if found.line is not None:
            id, content = read_line(content)
        return await _result(pipeline.open(Recorded(content, found.name)), found, id)
    # A module that this worker lacks is missing for every input.
    except ImportError as error:
        raise PipelineError(f"a worker can't run the pipeline: {type(error).__name__}: {error}") from error
    # Whatever else it is, also of a stage's own, the other inputs are read.
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
    # The recording of a failure is a result; what can't be read at all is not.
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
    """Use the counts of `Count`, if there is one; otherwise those of the provider."""
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
    # The message of a foreign exception may quote the answer; the notes are ours and name the stage.
    notes = [note for note in getattr(error, "__notes__", ()) if isinstance(note, str) and note.startswith("in stage")]
    return "; ".join(["a stage raised an exception", *notes])
