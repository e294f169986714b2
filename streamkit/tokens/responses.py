"""The responses in one stream, tracked here so that all stages report the same usage.

Usage is cumulative within a response and is summed over several responses, such as the turns of an agent that a program joins to
one stream. **Another response begins** with a `ResponseStart` with another id after a `Finish` or a `StreamEnd`, as soon as a
role, content or a finish follows it. (A server that gives each chunk a new id sends only its last usage with a new id, and
nothing after it.) Without ids everything is one response. A `Reset` discards everything before it.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

from streamkit.events import CONTENT, EndReason, Event, Finish, Reset, ResponseStart, RoleDelta, StreamEnd, Usage
from streamkit.tokens.prices import BilledTokens
from streamkit.tokens.usage import UsageParts, billed_of, merged, parts_of, parts_total, summed, total_of

RELEVANT: frozenset[type] = frozenset((ResponseStart, RoleDelta, Finish, Usage, Reset, StreamEnd))
"""The classes of events that `Responses.take` needs; while a response is `announced` it needs content too."""
OWN_ENDS: tuple[EndReason, ...] = ("completed", "length", "content_filter", "tool_calls")
"""The end reasons of a stream whose last response ended normally, so that its usage is final."""
_BEGINS = (*CONTENT, RoleDelta, Finish)


class Response(msgspec.Struct):
    """One response: its identity, the latest usage, and the number of tokens counted locally."""

    id: str | None = None
    model: str | None = None
    service_tier: str | None = None
    usage: Usage | None = None
    finished: bool = False
    counted: int = 0


class Responses(msgspec.Struct):
    """The responses of a stream in order. Pass events to `take`; read `usage` for the total, or `rows` for each response."""

    earlier: list[Response] = []
    """The finished responses."""
    current: Response = msgspec.field(default_factory=Response)
    """The response that is arriving."""
    announced: Response | None = None
    """A response for which only a `ResponseStart` and possibly a usage has arrived."""
    counted_earlier: int = 0
    """The tokens counted locally for the earlier responses."""

    def take(self, event: Event, counted: Callable[[], int] = lambda: 0) -> None:
        """Record the event. `counted` returns the number of tokens counted so far."""
        match event:
            case Usage():
                response = self.announced or self.current
                response.usage = merged(response.usage, event)
            case ResponseStart():
                self._start(event)
            case Reset():
                self.earlier, self.current, self.announced, self.counted_earlier = [], Response(), None, 0
            case StreamEnd():
                self.current.finished = True
            case _ if isinstance(event, _BEGINS):
                self._begin(counted)
                self.current.finished |= isinstance(event, Finish)
            case _:
                pass

    @property
    def usage(self) -> Usage | None:
        """The provider's usage of all responses together."""
        if not self.earlier and not self.announced:
            return self.current.usage
        return total_of(response.usage for response in self._all())

    @property
    def parts(self) -> UsageParts:
        """The parts of the usage of all responses together."""
        return parts_total(parts_of(response.usage) for response in self._all())

    def rows(self, counted: int, prompt: int | None = None, end: str | None = None) -> "list[ResponseUsage]":
        """The usage of each response.

        `counted` is the number of tokens counted locally for all of them, `prompt` that of one prompt, `end` the end reason.
        """
        responses = self._all()
        *before, last = responses
        rest = counted - sum(response.counted for response in before)
        return [
            *(_row(response, response.counted, prompt, ended=True) for response in before),
            _row(last, rest, prompt, ended=end in OWN_ENDS),
        ]

    def _start(self, event: ResponseStart) -> None:
        response = self.announced or self.current
        if response.finished and response.id and event.id and event.id != response.id:
            response = self.announced = Response()
        response.id = event.id or response.id
        response.model = event.model or response.model
        response.service_tier = event.service_tier or response.service_tier

    def _begin(self, counted: Callable[[], int]) -> None:
        if self.announced is None:
            return
        self.current.counted = counted() - self.counted_earlier
        self.counted_earlier += self.current.counted
        self.earlier.append(self.current)
        self.current, self.announced = self.announced, None

    def _all(self) -> list[Response]:
        current = self.current
        if self.announced and self.announced.usage:
            # Until content of another response follows, this is the last usage of the current one under another id.
            usage = merged(current.usage, self.announced.usage)
            current = msgspec.structs.replace(current, usage=usage)
        return [*self.earlier, current]


class UsageSum:
    """The reader of `Views.usage`: the provider's usage of all responses, emitted at the end of the stream if there is any."""

    def __init__(self) -> None:
        self._responses = Responses()

    def feed(self, item: Event) -> Iterable[Usage]:
        self._responses.take(item)
        return ()

    def flush(self) -> Iterable[Usage]:
        usage = self._responses.usage
        return () if usage is None else (usage,)


class ResponseUsage(NamedTuple):
    """The billed tokens of one response: as the provider reports them, or else as counted locally. `None` means unknown.

    `reported` are the completion tokens that the provider reports.
    """

    response: Response
    prompt: int | None
    completion: int
    total: int | None
    reported: int | None

    @property
    def billed(self) -> BilledTokens | None:
        """The tokens for a price table; `None` if `prompt` is unknown. Parts are limited to the count that includes them."""
        if self.prompt is None:
            return None
        parts = parts_of(self.response.usage)
        cached = min(parts.cached or 0, self.prompt)
        written = min(parts.cache_write or 0, self.prompt - cached)
        reasoning = min(parts.reasoning or 0, self.completion)
        cached_audio = min(parts.cached_audio or 0, parts.input_audio or 0, cached)
        output_audio = min(parts.output_audio or 0, self.completion - reasoning)
        return BilledTokens(
            self.prompt,
            self.completion,
            cached=cached,
            cache_write=written,
            cache_write_1h=min(parts.cache_write_1h or 0, written),
            reasoning=reasoning,
            input_audio=min(parts.input_audio or 0, self.prompt - cached - written + cached_audio),
            cached_audio=cached_audio,
            output_audio=output_audio,
            output_image=min(parts.output_image or 0, self.completion - reasoning - output_audio),
            web_searches=parts.web_searches or 0,
            service_tier=self.response.service_tier,
        )


def _row(response: Response, counted: int, prompt: int | None, *, ended: bool) -> ResponseUsage:
    usage = billed_of(response.usage) if response.usage else Usage()
    reported = usage.completion_tokens
    completion = counted if reported is None else reported if ended else max(reported, counted)
    prompt = prompt if usage.prompt_tokens is None else usage.prompt_tokens
    total = usage.total_tokens if ended else None
    return ResponseUsage(response, prompt, completion, summed(prompt, completion) if total is None else total, reported)
