"""`streamkit chat`: a conversation of several turns, with the functions of a Python file as tools."""

import argparse
import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import msgspec
from rich.console import Console

import streamkit as sk
from streamkit.batch.pipeline import AnyPipeline
from streamkit.cli import asking, live, reading, show, tool_file, values
from streamkit.cli.commands import CommandParser
from streamkit.cli.complaint import complaint
from streamkit.cli.exits import EXIT_CODES, OF_AN_ANSWER, WRONG_ARGUMENTS
from streamkit.completion import RequestFormat, ToolResult
from streamkit.errors import PipelineError, StreamkitError
from streamkit.events import Json, ToolOutput, TurnEnd

Message: TypeAlias = dict[str, Any]
EXAMPLES = """\
streamkit chat demo
    with the embedded provider, without key and network. Ctrl-C ends an answer; Ctrl-D or an empty line ends the chat
streamkit chat anthropic --model claude-sonnet-4-5 --system "Answer in one sentence."
    with a preset and a system prompt
streamkit chat openai --model gpt-4o-mini --tools tools.py
    the model may call the public functions of tools.py, with parameters by their annotations, descriptions by their docstrings
streamkit chat openai --model gpt-4o-mini --rules rules.toml --json < questions.txt
    each line of the file is a question; writes a JSON object for each answer
"""


def describe(parser: CommandParser) -> None:
    """Add the options."""
    parser.describe(
        "Chat with a model: each line is a question, and each answer becomes part of the conversation. Without a terminal,\n"
        "the questions are the lines of standard input, and the first failed answer ends the chat.",
        EXAMPLES,
        "for the last answer: " + OF_AN_ANSWER,
    )
    asking.describe(parser)
    add = parser.add_argument
    add("--model", type=values.sent, help="the model")
    add("--system", type=values.sent, metavar="TEXT", help="the system prompt of the conversation")
    add("--tools", type=Path, metavar="FILE.py", help="let the model call the public functions of this file")
    add(
        "--max-turns",
        type=values.whole(1, 1000),
        default=10,
        metavar="N",
        help="maximum number of requests per question; each round of tool calls needs one (%(default)s)",
    )
    reading.describe_pipeline(parser)
    add("--json", action="store_true", help="write a JSON object for each answer: text, calls, end and usage")


def run(options: argparse.Namespace) -> int:
    """Chat until the end of the input. Return the exit code of the last response; 0 in a terminal."""
    url = asking.address(options)
    if not options.model and not asking.is_gemini(url):
        options.error("expected --model")
    headers = asking.headers(options)
    form = form_of(url)
    functions = tool_file.load(options.tools) if options.tools else {}
    pipeline = reading.pipeline(options, {"model": options.model})
    with asyncio.Runner() as runner:
        demo = asking.served(url)
        served_url = runner.run(demo.__aenter__())
        try:
            return _chat(runner, ChatSession(options, served_url, headers, form, functions, pipeline), options)
        finally:
            runner.run(demo.__aexit__(None, None, None))


def form_of(url: str) -> RequestFormat:
    """Return the request format for the URL's path. Raises `PipelineError` for legacy completions, which have no turns."""
    path = urlsplit(url).path.rstrip("/")
    if asking.is_gemini(url):
        return "gemini"
    if path.endswith("/messages"):
        return "anthropic"
    if path.endswith("/responses"):
        return "responses"
    if path.endswith(("/api/generate", "/completions")) and not path.endswith("/chat/completions"):
        raise PipelineError("the legacy completions have no turns: use the address of a chat")
    return "openai"


def _chat(runner: asyncio.Runner, session: "ChatSession", options: argparse.Namespace) -> int:
    code, interactive = 0, sys.stdin.isatty()
    for question in _questions(interactive=interactive):
        try:
            if values.has_utf8_form(question):
                code = runner.run(session.ask(question))
            else:
                print("streamkit: expected a question in UTF-8, found other bytes", file=sys.stderr)
                code = WRONG_ARGUMENTS
        except KeyboardInterrupt:
            # In a terminal, Ctrl-C ends only the response; at the prompt it ends the chat.
            if not interactive:
                raise
            print(file=sys.stderr)
            code = EXIT_CODES["cancelled"]
        if code and not interactive:
            return code
    return 0 if interactive else code


def _questions(*, interactive: bool) -> Iterator[str]:
    if not interactive:
        yield from (line for line in map(str.strip, sys.stdin) if line)
        return
    # If available, readline adds history and line editing to `input`.
    with suppress(ImportError):
        import_module("readline")
    with suppress(EOFError):
        while question := input("> ").strip():
            yield question
        return
    print(file=sys.stderr)


class ChatSession:
    """The messages so far, and the settings of the next request."""

    def __init__(
        self,
        options: argparse.Namespace,
        url: str,
        headers: dict[str, str],
        form: RequestFormat,
        functions: tool_file.Functions,
        pipeline: AnyPipeline,
    ) -> None:
        self._options, self._url, self._headers = options, url, headers
        self._form: RequestFormat = form
        self._functions, self._pipeline = functions, pipeline
        self._tools = tool_file.definitions(functions, form) if functions else []
        self.messages: list[Message] = []
        if options.system and form in ("openai", "responses"):
            self.messages.append({"role": "system", "content": options.system})
        self._stream: sk.Stream[sk.Event] | None = None

    async def ask(self, question: str) -> int:
        """Send a question, write and store the response, and return the exit code. If it fails, the question is not stored."""
        options = self._options
        out, err = show.make_console(widest=None), Console(stderr=True, highlight=False)
        messages = [*self.messages, self._question(question)]
        turns = _Turns(messages, self._form)
        problem: str | None = None
        try:
            async with live.shown(out, err, turns.line) as text:
                conversation = sk.hops.converse(
                    self._send, self._functions, messages, max_turns=options.max_turns, to=self._form
                )
                async with conversation as events:
                    async for event in events:
                        turns.take(event)
                        if not options.json and (piece := _shown(event)):
                            text.write(piece)
        except StreamkitError as error:
            problem = complaint(error, verbose=options.verbose)
        except asyncio.CancelledError:
            # The text received before Ctrl-C stays in the conversation, unless a tool call has no result.
            self._keep_partial(turns)
            raise
        end = turns.end or "error"
        if problem is None and end not in ("completed", "tool_calls"):
            problem = f"the answer ended with {end}"
        if options.json:
            sys.stdout.write(msgspec.json.encode(turns.to_dict()).decode() + "\n")
            sys.stdout.flush()
        if problem is None or end == "length":
            self.messages = turns.messages
        if problem is not None:
            print(f"streamkit: {problem}", file=sys.stderr)
        return EXIT_CODES[end] or (1 if problem else 0)

    def _question(self, text: str) -> Message:
        if self._form == "gemini":
            return {"role": "user", "parts": [{"text": text}]}
        return {"role": "user", "content": text}

    def _send(self, messages: list[Message]) -> sk.Stream[sk.Event]:
        body = self._body(messages)
        source = sk.http.post(asking.endpoint_of(self._url, body), json=body, headers=self._headers)
        self._stream = source | self._pipeline
        return self._stream

    def _body(self, messages: list[Message]) -> dict[str, Any]:
        options = self._options
        tools: dict[str, Any] = {"tools": self._tools} if self._tools else {}
        match self._form:
            case "gemini":
                system = {"systemInstruction": {"parts": [{"text": options.system}]}} if options.system else {}
                return {"contents": messages, **system, **tools}
            case "anthropic":
                system = {"system": options.system} if options.system else {}
                return {
                    "model": options.model,
                    "max_tokens": 4096,
                    "messages": messages,
                    "stream": True,
                    **system,
                    **tools,
                }
            case "responses":
                return {"model": options.model, "input": messages, "stream": True, **tools}
            case _:
                return {"model": options.model, "messages": messages, "stream": True, **tools}

    def _keep_partial(self, turns: "_Turns") -> None:
        completion = self._stream.stage(sk.Accumulate).snapshot if self._stream else None
        if completion and completion.text and not turns.open_calls and not completion.choices[0].tool_calls:
            self.messages = [*turns.messages, *completion.messages(self._form)]


class _Turns:
    """The response to one question so far."""

    def __init__(self, messages: list[Message], form: RequestFormat) -> None:
        self.messages = messages
        self.end: sk.events.EndReason | None = None
        self.usage: sk.Usage | None = None
        self.texts: list[str] = []
        self.outputs: list[ToolOutput] = []
        self.open_calls = False
        self._form: RequestFormat = form
        self._completion = sk.Completion()
        self._results: list[ToolResult] = []
        self._deltas = 0
        self._clock: Callable[[], float] = asyncio.get_running_loop().time
        self._began = self._clock()

    def take(self, event: sk.Event) -> None:
        match event:
            case sk.TextDelta(text=text, index=0) | sk.RefusalDelta(text=text, index=0):
                self.texts.append(text)
                self._deltas += 1
            case sk.Completion():
                self._completion, self._results = event, []
                calls = event.choices[0].tool_calls if event.choices else ()
                self.open_calls = bool(calls)
            case ToolOutput():
                call = self._completion.choices[0].tool_calls[len(self._results)]
                self._results.append(ToolResult(call, event.content, event.failed))
                self.outputs.append(event)
            case TurnEnd():
                self.usage = event.usage
                self.messages = [*self.messages, *self._completion.messages(self._form)]
                if self._results:
                    self.messages += self._completion.tool_results(self._results, self._form)
                self.open_calls = False
            case sk.StreamEnd():
                self.end = event.reason
            case _:
                pass

    def line(self) -> str:
        """Return the line below the text."""
        tokens = self.usage.completion_tokens if self.usage else None
        return live.line(
            tokens=tokens, deltas=self._deltas, rate=None, cost=None, seconds=self._clock() - self._began, end=self.end
        )

    def to_dict(self) -> dict[str, Json]:
        """Return the response as JSON-compatible data."""
        calls: list[Json] = [{"name": one.name, "content": one.content, "failed": one.failed} for one in self.outputs]
        usage: Json = None
        if self.usage:
            names = ("prompt_tokens", "completion_tokens", "total_tokens")
            usage = {name: getattr(self.usage, name) for name in names}
        return {"text": "".join(self.texts), "tools": calls, "end": self.end, "usage": usage}


def _shown(event: sk.Event) -> str:
    match event:
        case sk.TextDelta(text=text, index=0) | sk.RefusalDelta(text=text, index=0):
            return text
        case ToolOutput(name=name, content=content, failed=failed):
            shown = content if isinstance(content, str) else msgspec.json.encode(content).decode()
            return f"[{name} {'failed' if failed else 'returned'}: {shown[:200]}]\n"
        case _:
            return ""
