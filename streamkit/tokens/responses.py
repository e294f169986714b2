"""The responses in one stream, so that all stages report the same usage.

Usage is cumulative within a response and adds up over several: the turns of an agent, for example, that a program joins to one
stream. **Another response begins** with a `ResponseStart` of another id after a `Finish` or a `StreamEnd`, as soon as a role,
content or a finish follows it. (A server that gives each chunk an id of its own sends its last usage with a new one, and no
more.) Without ids everything is one response. After a `Reset` all before it is void.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

from streamkit.events import CONTENT, EndReason, Event, Finish, Reset, ResponseStart, RoleDelta, StreamEnd, Usage
from streamkit.tokens.prices import BilledTokens
from streamkit.tokens.usage import UsageParts, billed_of, merged, parts_of, parts_total, summed, total_of

RELEVANT: frozenset[type] = frozenset((ResponseStart, RoleDelta, Finish, Usage, Reset, StreamEnd))
"""The classes of the events that `Responses.take` needs; content too while a response is `announced`."""
OWN_ENDS: tuple[EndReason, ...] = ("completed", "length", "content_filter", "tool_calls")
"""Why a stream ends whose last response came to its own end, so that its usage is all of it."""
_BEGINS = (*CONTENT, RoleDelta, Finish)


class Response(msgspec.Struct):
    """One response: its identity, the latest usage, and how many tokens of it were counted here."""

    id: str | None = None
    model: str | None = None
    service_tier: str | None = None
    usage: Usage | None = None
    finished: bool = False
    counted: int = 0


class Responses(msgspec.Struct):
    """The responses of a stream in their order. `take` events, and read `usage`, or `rows` for each by itself."""

    earlier: list[Response] = []
    """Those that are finished."""
    current: Response = msgspec.field(default_factory=Response)
    """The one that arrives."""
    announced: Response | None = None
    """One of which nothing but a `ResponseStart` and perhaps a usage has come."""
    counted_earlier: int = 0
    """Tokens that were counted here for the earlier ones."""

    def take(self, event: Event, counted: Callable[[], int] = lambda: 0) -> None:
        """Record the event. `counted` returns how many tokens were counted so far."""
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
        """The provider's usage of all of them together."""
        if not self.earlier and not self.announced:
            return self.current.usage
        return total_of(response.usage for response in self._all())

    @property
    def parts(self) -> UsageParts:
        """The parts of that."""
        return parts_total(parts_of(response.usage) for response in self._all())

    def rows(self, counted: int, prompt: int | None = None, end: str | None = None) -> "list[ResponseUsage]":
        """The figures of each. `counted` tokens were counted of all, `prompt` of one's prompt; `end` is why the stream ended."""
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
            # It is the last usage of the current one, under another id, as long as nothing of another response follows.
            usage = merged(current.usage, self.announced.usage)
            current = msgspec.structs.replace(current, usage=usage)
        return [*self.earlier, current]


class UsageSum:
    """The reader of `Views.usage`: the provider's usage of all responses of a stream, at its end, if there is any."""

    def __init__(self) -> None:
        self._responses = Responses()

    def feed(self, item: Event) -> Iterable[Usage]:
        self._responses.take(item)
        return ()

    def flush(self) -> Iterable[Usage]:
        usage = self._responses.usage
        return () if usage is None else (usage,)


class ResponseUsage(NamedTuple):
    """The figures of one response as it is billed: of the provider, or else counted here; `None` is unknown.

    `reported` is the completion as the provider reports it.
    """

    response: Response
    prompt: int | None
    completion: int
    total: int | None
    reported: int | None

    @property
    def billed(self) -> BilledTokens | None:
        """The tokens for a price table; `None` without the prompt. No part is larger than what contains it."""
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
