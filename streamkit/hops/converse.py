"""Turns and tools: request, call the functions, send their results back, until the model calls none."""

import inspect
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Mapping,
    Sequence,
)
from typing import Any, TypeAlias, cast, get_args

import anyio
import anyio.lowlevel
import msgspec

from streamkit.completion import EndReason, RequestFormat, ToolResult
from streamkit.core.joined import HopContext
from streamkit.core.reading import CLOSE_SECONDS
from streamkit.core.stray import stray_cancellation_fails
from streamkit.core.stream import Stream
from streamkit.core.wrong_input import kind_of, shown
from streamkit.dialects.message_forms import plain
from streamkit.errors import OutputError, PipelineError, StreamkitError
from streamkit.events import Completion, Event, StreamEnd, ToolCall, ToolOutput, TurnEnd, Usage
from streamkit.hops.channel import Branch, at_least_one, opened
from streamkit.hops.concurrent_map import concurrent_map
from streamkit.hops.context import hop
from streamkit.hops.keys import check_functions
from streamkit.hops.tasks import beside
from streamkit.hops.tools import DecidesOnTool, OnToolError, Tool, Tools, as_tools
from streamkit.operators.each import check_seconds
from streamkit.tokens.usage import total_of

Messages: TypeAlias = list[dict[str, Any]]
Answer: TypeAlias = Stream[Event] | HopContext[AsyncIterable[Event]]
Ask: TypeAlias = Callable[[Messages], Answer | Awaitable[Answer]]
"""Takes the conversation so far, and returns `source | pipeline`, a stream of events with `Accumulate`, or a hop of such."""


@hop
async def converse(
    ask: Ask,
    tools: Tools,
    messages: Iterable[dict[str, Any]] = (),
    *,
    max_turns: int = 10,
    concurrency: int = 8,
    timeout: float | None = None,
    on_error: OnToolError = "result",
    to: RequestFormat | None = None,
    size: int = 16,
) -> AsyncGenerator["Branch[Event]", None]:
    """Ask, call the functions that the answer calls, and send their results back, until an answer calls none: one stream.

    `ask(messages)`, a function or a coroutine function, returns the stream of one request, or a hop such as `race`; its pipeline
    has `Extract` and `Accumulate`, and may moderate or count.
    `tools` are functions, async or not, with different names, or a mapping of names to functions. One with a single parameter
    of a class gets all arguments as an object of it, any other gets them by name; both are validated by the annotations before
    the call.

    The stream has the events of each turn but its `StreamEnd`, a `ToolOutput` for each call, a `TurnEnd` for each turn, and one
    `StreamEnd`: the last turn's, or `StreamEnd("limit")` when `max_turns` answers have called tools. Numbers of tool calls go
    on from turn to turn. `TurnEnd.usage` is the sum so far. A turn that fails, or that a limit or a filter cut short, ends the
    stream as it would end its own, and its calls are not executed.

    At most `concurrency` functions run at a time, each for at most `timeout` seconds. With `on_error="result"` an exception, a
    timeout, an unknown tool, arguments that don't fit and a result that is no JSON-compatible data are sent to the model as
    failed results, by the exception's class and without its message; with `"raise"` they are raised and end the stream. A
    function of the exception and the `ToolCall` decides by returning one of the words; it is where to log what failed.

    `messages`, a list of dicts, is copied; the conversation so far is sent with each request, in the answer's format or in that
    of `to`. At most `size` events are read ahead. Leaving the block cancels the functions that run and closes the request.

    `messages` and `tools` that can't be sent raise `PipelineError` when the block is entered, before the first request.
    """
    at_least_one(max_turns=max_turns, concurrency=concurrency, size=size)
    if not callable(on_error) and on_error not in get_args(DecidesOnTool):
        raise PipelineError(f"on_error: expected 'result', 'raise' or a function, found {shown(on_error)}")
    if timeout is not None:
        check_seconds("timeout", timeout)
    if to is not None and to not in get_args(RequestFormat):
        raise PipelineError(f"to: expected one of {', '.join(get_args(RequestFormat))}, found {shown(to)}")
    check_functions(ask=ask)
    plan = _Plan(ask, as_tools(tools), max_turns, concurrency, timeout, on_error, to)
    conversation = _Conversation(plan, _copied(messages), Branch[Event](size))
    async with beside(conversation.work, unclosed=conversation.unclosed):
        yield conversation.branch


def _copied(messages: object) -> Messages:
    example = 'expected a list such as [{"role": "user", "content": "…"}]'
    # Iterating over text returns its characters, and over one message its keys.
    if isinstance(messages, str | bytes | bytearray | memoryview | Mapping) or not isinstance(messages, Iterable):
        raise PipelineError(f"messages: {example}, found {kind_of(cast(object, messages))}")
    copied = list(cast("Iterable[object]", messages))
    for number, message in enumerate(copied):
        if not isinstance(message, Mapping):
            raise PipelineError(f"messages: {example}, found {kind_of(message)} at [{number}]")
    return cast("Messages", copied)


class _Plan(msgspec.Struct, frozen=True):
    ask: Ask
    tools: dict[str, Tool]
    max_turns: int
    concurrency: int
    timeout: float | None
    on_error: OnToolError
    to: RequestFormat | None


class _Conversation:
    # A coroutine and no generator, since there are task groups open while it waits for room. (PEP 789)
    def __init__(self, plan: _Plan, messages: Messages, branch: Branch[Event]) -> None:
        self.branch = branch
        self.unclosed: list[Exception] = []
        """Failures to close what was read."""
        self._plan = plan
        self._messages = messages
        self._usages: list[Usage | None] = []
        self._first_call = 0  # the number of the turn's first call in the stream
        self._scope = anyio.CancelScope()
        self._gone = anyio.Event()
        branch.on_closed(self._left)

    async def work(self) -> None:
        """Run all turns. Run by `converse` in a task."""
        failure: Exception | None = None
        try:
            with self._scope:
                await anyio.lowlevel.checkpoint()
                await self._turns()
        except Exception as error:
            failure = error
        finally:
            self._gone.set()
        self.branch.finish(failure)

    async def _left(self) -> None:
        self._scope.cancel()
        with anyio.move_on_after(CLOSE_SECONDS, shield=True):
            await self._gone.wait()

    async def _give(self, event: Event) -> None:
        self.branch.give(event)
        await self.branch.room()

    async def _turns(self) -> None:
        for number in range(1, self._plan.max_turns + 1):
            completion, end = await self._turn()
            calls = _calls(completion, end.reason)
            self._usages.append(completion.usage)
            results = await self._results(calls) if calls else []
            await self._give(TurnEnd(number, end.reason, len(calls), total_of(self._usages)))
            if not calls:
                await self._give(end)
                return
            self._messages += completion.messages(self._plan.to)
            self._messages += completion.tool_results(results, self._plan.to)
            self._first_call += max(call.index for call in calls) + 1
        await self._give(StreamEnd("limit"))

    async def _turn(self) -> tuple[Completion, StreamEnd]:
        completion, end = None, StreamEnd("truncated")
        async with opened(await self._answer(), self.unclosed) as events:
            async for event in events:
                if isinstance(event, StreamEnd):
                    end = event
                    continue
                if isinstance(event, Completion):
                    completion = event
                await self._give(self._numbered(event))
        if completion is None and end.reason != "cancelled":
            raise PipelineError("converse needs a stream that gives a Completion: add Accumulate() to the pipeline")
        return completion or Completion(), end

    async def _answer(self) -> Answer:
        answer = self._plan.ask(list(self._messages))
        if inspect.isawaitable(answer):
            with stray_cancellation_fails:
                answer = await answer
        if not isinstance(cast(object, answer), Stream | HopContext):
            found = kind_of(answer)
            raise PipelineError(f"ask: expected a function that returns a stream (source | pipeline), found {found}")
        return answer

    def _numbered(self, event: Event) -> Event:
        number = getattr(event, "tool_index", None)
        if number is None or not self._first_call:
            return event
        numbered: Event = msgspec.structs.replace(event, tool_index=number + self._first_call)
        return numbered

    async def _results(self, calls: Sequence[ToolCall]) -> list[ToolResult]:
        found: list[ToolResult] = []
        async with concurrent_map(_each(calls), self._call, of=ToolCall, concurrency=self._plan.concurrency) as results:
            async for result in results:
                assert isinstance(result, ToolResult), "every item is a call"
                found.append(result)
                await self._give(self._output(result))
        return found

    def _output(self, result: ToolResult) -> ToolOutput:
        call = result.call
        return ToolOutput(call.name or "", result.content, call.id, self._first_call + call.index, result.failed)

    async def _call(self, call: ToolCall) -> ToolResult:
        try:
            with stray_cancellation_fails, anyio.fail_after(self._plan.timeout):
                content = await self._function(call)(call)
            return ToolResult(call, plain(content))
        except Exception as error:
            if self._decide(error, call) == "raise":
                error.add_note(f"in tool {shown(call.name)}")
                raise
            return ToolResult(call, _reason(error), failed=True)

    def _decide(self, error: Exception, call: ToolCall) -> DecidesOnTool:
        decision = self._plan.on_error
        if callable(decision):
            decision = decision(error, call)
            if decision not in get_args(DecidesOnTool):
                raise PipelineError(f"on_error: expected it to return 'result' or 'raise', found {shown(decision)}")
        return decision

    def _function(self, call: ToolCall) -> Tool:
        tool = self._plan.tools.get(call.name or "")
        if tool is None:
            raise OutputError(
                f"expected one of the tools {', '.join(sorted(self._plan.tools)) or '(none)'}", problem="invalid"
            )
        return tool


def _calls(completion: Completion, end: EndReason) -> tuple[ToolCall, ...]:
    """The calls to execute: those of the first choice of an answer that came to its own end."""
    complete = end in ("completed", "tool_calls")
    return completion.choices[0].tool_calls if complete and completion.choices else ()


async def _each(calls: Sequence[ToolCall]) -> AsyncIterator[ToolCall]:
    for call in calls:
        yield call


def _reason(error: Exception) -> str:
    # What the model may know: streamkit's own messages quote nothing, those of other exceptions may hold anything.
    if isinstance(error, TimeoutError):
        return "error: the tool did not finish in time"
    return f"error: {error}" if isinstance(error, StreamkitError) else f"error: the tool raised {type(error).__name__}"
