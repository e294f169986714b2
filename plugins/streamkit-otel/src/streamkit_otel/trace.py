"""The stage `Trace`."""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import TypeVar

from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import Span, SpanKind, StatusCode, TracerProvider, get_tracer
from opentelemetry.util.types import AttributeValue

from streamkit import (
    AsyncStage,
    Event,
    Finish,
    ReasoningDelta,
    RefusalDelta,
    StreamEnd,
    TextDelta,
    TokenCount,
    ToolCallDelta,
)
from streamkit.events import AudioDelta, Reset, ResponseDetails, ResponseStart
from streamkit.tokens import Responses
from streamkit_otel import names
from streamkit_otel.instruments import instruments
from streamkit_otel.messages import Messages

V = TypeVar("V")
_OUTPUT = (TextDelta, ReasoningDelta, RefusalDelta, ToolCallDelta, AudioDelta)
_FAILED = {"unknown", "truncated", "provider_error", "timeout", "error"}
_NOT_STATE = {"state": False}


@dataclass
class Trace(AsyncStage[Event, Event]):
    """Report the stream to OpenTelemetry: a span from its opening to any kind of end, and the GenAI metrics. All events pass
    unchanged.

    The span is a child of the span that is current where the stream is opened. `model` is the model of the request; `attributes`
    are added to the span. By default, `provider` is determined from the format of the response. The text of the response is
    reported only with `capture_content`: `gen_ai.output.messages` then has the content that passed this stage, so put it after
    `Moderate`.

    It is an `AsyncStage` although it never waits, because only an `AsyncStage` is notified of every end, by `close`.
    """

    model: str | None = None
    provider: str | None = None
    operation: str = "chat"
    server_address: str | None = None
    server_port: int | None = None
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict[str, AttributeValue])
    capture_content: bool = False
    tracer_provider: TracerProvider | None = field(default=None, repr=False)
    meter_provider: MeterProvider | None = field(default=None, repr=False)
    _response: dict[str, str] = field(default_factory=dict[str, str], init=False, repr=False)
    _detected_provider: str | None = field(default=None, init=False, repr=False)
    _finished: dict[int, str] = field(default_factory=dict[int, str], init=False, repr=False)
    _responses: Responses = field(default_factory=Responses, init=False, repr=False)
    _counted: dict[str, int] = field(default_factory=dict[str, int], init=False, repr=False)
    _reason: str | None = field(default=None, init=False, repr=False)
    _flushed: bool = field(default=False, init=False, repr=False)
    _messages: Messages = field(default_factory=Messages, init=False, repr=False)
    # Not part of a checkpoint: a run that is resumed elsewhere has another span and another clock.
    _span: Span | None = field(default=None, init=False, repr=False, compare=False, metadata=_NOT_STATE)
    _handled: BaseException | None = field(default=None, init=False, repr=False, compare=False, metadata=_NOT_STATE)
    _began: float = field(default=0.0, init=False, repr=False, compare=False, metadata=_NOT_STATE)
    _opened: float | None = field(default=None, init=False, repr=False, compare=False, metadata=_NOT_STATE)
    _first: float | None = field(default=None, init=False, repr=False, compare=False, metadata=_NOT_STATE)
    _now: float = field(default=0.0, init=False, repr=False, compare=False, metadata=_NOT_STATE)
    _last: float | None = field(default=None, init=False, repr=False, compare=False, metadata=_NOT_STATE)

    def tick(self, now: float) -> None:
        self._now = now
        if self._opened is None:
            # The first tick runs in the consumer's context, before the source is opened.
            self._opened = now
            self._begin()
        elif self._first is None:
            self._first = now - self._opened

    async def feed(self, item: Event) -> Iterable[Event]:
        if isinstance(item, _OUTPUT):
            self._chunk()
        if self.capture_content:
            self._messages.add(item)
        self._responses.take(item, self._tokens_counted)
        match item:
            case ResponseStart():
                self._response |= _known({names.RESPONSE_ID: item.id, names.RESPONSE_MODEL: item.model})
            case ResponseDetails(shape=str(shape)):
                self._detected_provider = names.PROVIDERS.get(shape, shape)
            case Finish():
                self._finished[item.index] = item.finish_reason
            case TokenCount():
                # Counts are cumulative per text, so the last one replaces the others.
                self._counted[f"{item.index} {item.channel} {item.tool_index}"] = item.tokens
            case Reset():
                self._reset()
            case StreamEnd():
                self._reason = item.reason
            case _:
                pass
        return (item,)

    async def flush(self) -> Iterable[Event]:
        self._flushed = True
        return ()

    async def close(self) -> None:
        # `close` is called while the failure that ends the stream is being handled. An exception that the consumer was already
        # handling when it opened the stream does not belong to this stream.
        error = sys.exception()
        self._end(None if error is self._handled else error)

    def __del__(self) -> None:
        # The coroutine that read the stream was garbage-collected, so nothing awaited `close`.
        if getattr(self, "_span", None):
            self._end(None)

    def _begin(self) -> None:
        self._began, self._handled = perf_counter(), sys.exception()
        tracer = get_tracer("streamkit_otel", tracer_provider=self.tracer_provider)
        name = f"{self.operation} {self.model}" if self.model else self.operation
        # Set all attributes that a sampler may use when the span starts.
        known = {**self.attributes, **self._about(), names.REQUEST_STREAM: True}
        self._span = tracer.start_span(name, kind=SpanKind.CLIENT, attributes=known)

    def _provider(self) -> str:
        # Only providers with another format than OpenAI's send `ResponseDetails`.
        return self.provider or self._detected_provider or "openai"

    def _about(self) -> dict[str, AttributeValue]:
        found: dict[str, AttributeValue | None] = {
            names.OPERATION: self.operation,
            names.PROVIDER: self._provider(),
            names.REQUEST_MODEL: self.model,
            names.SERVER_ADDRESS: self.server_address,
            names.SERVER_PORT: self.server_port if self.server_address else None,
        }
        return _known(found)

    def _reset(self) -> None:
        for known in (self._response, self._finished, self._counted):
            known.clear()
        self._detected_provider, self._messages = None, Messages()

    def _chunk(self) -> None:
        if self._last is not None and self._first is not None:
            instruments(self.meter_provider).per_chunk.record(self._now - self._last, self._measured())
        self._last = self._now

    def _measured(self) -> dict[str, AttributeValue]:
        model = self._response.get(names.RESPONSE_MODEL)
        return {**self._about(), **({names.RESPONSE_MODEL: model} if model else {})}

    def _end(self, error: BaseException | None) -> None:
        span, self._span, self._handled = self._span, None, None
        if span is None:
            return
        reason, failure = self._why(error)
        for name, value in self._outcome(reason, failure).items():
            span.set_attribute(name, value)
        if failure:
            # Without the message, which may quote the response.
            span.set_status(StatusCode.ERROR)
        self._measure(failure)
        span.end()

    def _why(self, error: BaseException | None) -> tuple[str, str | None]:
        # A BaseException that is not an Exception is a cancellation, on any event loop.
        if isinstance(error, Exception) and self._reason is None and not self._flushed:
            kind = type(error)
            return str(getattr(error, "end_reason", "error")), f"{kind.__module__}.{kind.__qualname__}"
        reason = self._reason or ("completed" if self._flushed else "cancelled")
        return reason, reason if reason in _FAILED else None

    def _outcome(self, reason: str, failure: str | None) -> dict[str, AttributeValue]:
        found: dict[str, AttributeValue | None] = {
            **self._response,
            names.PROVIDER: self._provider(),
            names.FINISH_REASONS: [self._finished[index] for index in sorted(self._finished)] or None,
            **self._usage(),
            names.FIRST_CHUNK: self._first,
            names.END_REASON: reason,
            names.ERROR_TYPE: failure,
            names.OUTPUT_MESSAGES: self._messages.json(self._finished) if self.capture_content else None,
        }
        return _known(found)

    def _measure(self, failure: str | None) -> None:
        made, about = instruments(self.meter_provider), self._measured()
        # Wall-clock time, because the source's time is not known at a failure.
        made.duration.record(perf_counter() - self._began, about | ({names.ERROR_TYPE: failure} if failure else {}))
        if self._first is not None:
            made.first_chunk.record(self._first, about)
        usage = self._usage()
        for kind, name in (("input", names.INPUT_TOKENS), ("output", names.OUTPUT_TOKENS)):
            if (tokens := usage[name]) is not None:
                made.tokens.record(tokens, about | {names.TOKEN_TYPE: kind})

    def _usage(self) -> dict[str, int | None]:
        # The provider's usage takes precedence over the tokens counted here. The totals include the cached and reasoning tokens,
        # as the conventions require.
        rows, parts = self._responses.rows(self._tokens_counted(), end=self._reason), self._responses.parts
        known = self._counted or any(row.reported is not None for row in rows)
        prompts = [row.prompt for row in rows if row.prompt is not None]
        return {
            names.INPUT_TOKENS: sum(prompts) if prompts else None,
            names.OUTPUT_TOKENS: sum(row.completion for row in rows) if known else None,
            names.CACHE_READ_TOKENS: parts.cached,
            names.CACHE_CREATION_TOKENS: parts.cache_write,
            names.REASONING_TOKENS: parts.reasoning,
        }

    def _tokens_counted(self) -> int:
        return sum(self._counted.values())


def _known(values: Mapping[str, V | None]) -> dict[str, V]:
    return {name: value for name, value in values.items() if value is not None}
