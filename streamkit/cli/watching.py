"""`streamkit watch`: shows responses live on a local web page while they pass through a pipeline."""

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import streamkit as sk
from streamkit.cli import asking, reading, values
from streamkit.cli.commands import CommandParser
from streamkit.cli.complaint import complaint
from streamkit.cli.exits import OF_A_COMMAND
from streamkit.cli.inputs import check_file
from streamkit.cli.replay import describe_pace
from streamkit.core.stage import parts
from streamkit.errors import StreamkitError
from streamkit.sinks.watch import Watch

EXAMPLES = """\
streamkit watch --url demo --prompt "Tell me the launch code" --rules rules.toml
    send a prompt to the embedded provider, and show the answer while it passes through the rules
streamkit watch answer.jsonl other.jsonl --pace 2
    recorded answers, one after the other, at twice the recorded pace
streamkit watch --url openai --model gpt-4o-mini --prompt "Count to 100" --price 0.15/0.60 --port 8765
    an endpoint, with the cost of the tokens, on a port of your choice
streamkit watch answer.sse --rules rules.toml --withheld
    also show the text that the rules withhold, which the page otherwise does not receive
"""


def describe(parser: CommandParser) -> None:
    """Add the options."""
    parser.describe(
        "Show answers on a local web page while they pass through a pipeline: the text, what is buffered and why,\n"
        "redactions, tokens, cost, time to first token and stalls. The page stays until Ctrl-C.",
        EXAMPLES,
        OF_A_COMMAND,
    )
    add = parser.add_argument
    add("files", metavar="FILE", nargs="*", type=Path, help="a recording, or the body of an answer")
    describe_pace(parser)
    asking.describe_address(parser, "--url")
    add("--prompt", type=values.sent, metavar="TEXT", help="the prompt for --model")
    add("--body", metavar="FILE", help="the request as JSON, instead of --prompt; - is standard input")
    add("--model", type=values.sent, help="the model of the request, and for which tokens are counted")
    asking.describe_key(parser)
    reading.describe_pipeline(parser)
    reading.describe_price(parser, "needs --model")
    add(
        "--port",
        type=values.port,
        default=0,
        metavar="PORT",
        help="the port of the page; 0, the default, selects a free one",
    )
    add("--stall", type=values.seconds, default=1.0, metavar="SECONDS", help="a longer wait is a stall (%(default)s)")
    add("--withheld", action="store_true", help="also show the text that is buffered or withheld")
    add(
        "--json",
        action="store_true",
        help="write the URL of the page and the end of each answer as JSON, one per line",
    )
    add("--exit", action="store_true", help="exit when the answers have ended, without waiting for Ctrl-C")


def run(options: argparse.Namespace) -> int:
    """Serve the page and read the responses to show."""
    if bool(options.files) == bool(options.url):
        options.error("expected either FILE or --url")
    if options.price and not options.model:
        options.error("--price needs --model")
    for file in options.files:
        check_file(file)
    # Check all arguments before the page is served; otherwise it would stay empty.
    request = _request(options) if options.url else None
    _pipeline(options, {})
    return asyncio.run(_watch(options, request))


class _WatchedRequest(NamedTuple):
    url: str
    headers: dict[str, str]
    body: dict[str, Any]


def _request(options: argparse.Namespace) -> _WatchedRequest:
    url = asking.address(options)
    return _WatchedRequest(url, asking.headers(options), _body(options, url))


async def _watch(options: argparse.Namespace, request: _WatchedRequest | None) -> int:
    watch = Watch(withheld=options.withheld, stall=options.stall)
    failed = False
    async with watch.serve(port=options.port) as page:
        _report(options, f"watch {page}", {"page": page})
        if request:
            failed = not await _ask(watch, request, options)
        for file in options.files:
            source = sk.replay(file, pace=options.pace or None)
            stream = watch(source | _pipeline(options, {}), file.name)
            failed = not await _read(stream, file.name, options) or failed
        if not options.exit:
            _report(options, "every answer has ended; Ctrl-C closes the page")
            await asyncio.Event().wait()
    return int(failed)


async def _ask(watch: Watch, request: _WatchedRequest, options: argparse.Namespace) -> bool:
    url, headers, body = request
    async with asking.served(url) as served_url:
        request_body = body if asking.is_gemini(served_url) else {"stream": True} | body
        source = sk.http.post(asking.endpoint_of(served_url, body), json=request_body, headers=headers)
        title = str(body.get("model") or options.url)
        return await _read(watch(source | _pipeline(options, body), title), title, options)


def _body(options: argparse.Namespace, url: str) -> dict[str, Any]:
    if (options.prompt is None) == (options.body is None):
        options.error("--url needs either --prompt or --body")
    if options.prompt is not None:
        if not options.prompt.strip():
            options.error("--prompt: expected a text, found an empty one")
        if not options.model and not asking.is_gemini(url):
            options.error("--prompt needs --model")
        return asking.body_of(options.prompt, options.model, url)
    body = asking.body(options.body)
    return body | {"model": options.model} if options.model else body


def _pipeline(options: argparse.Namespace, body: dict[str, Any]) -> Any:
    """Return the pipeline of the options, with a `Count` if the model's token table is on this machine."""
    made: Any = reading.pipeline(options, {})
    model = options.model or body.get("model")
    if reading.table_here(model) is None or any(isinstance(stage, sk.Count) for stage in parts(made)):
        return made
    return made | sk.Count(model, prices=options.price, prompt=reading.prompt_tokens(body))


async def _read(stream: sk.Stream[Any], title: str, options: argparse.Namespace) -> bool:
    """Read to the end; return False if that failed. An error is one line on standard error, and shown on the page."""
    problem: StreamkitError | None = None
    try:
        async with stream as events:
            async for _ in events:
                pass
    except StreamkitError as error:
        problem = error
        print(f"streamkit: {complaint(error, verbose=options.verbose)}", file=sys.stderr)
    _report(options, None, {"answer": title, "end": stream.end.reason if stream.end else "error"})
    return problem is None


def _report(options: argparse.Namespace, text: str | None, data: dict[str, str] | None = None) -> None:
    """Write a line of text, or with `--json` a line of JSON."""
    line = json.dumps(data, ensure_ascii=False) if options.json and data else None if options.json else text
    if line is not None:
        print(line, flush=True)
