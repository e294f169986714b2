"""`streamkit run`: sends a request to an endpoint and writes the response while it arrives."""

import argparse
import asyncio
import sys
from typing import Any

import streamkit as sk
from streamkit.batch.pipeline import AnyPipeline
from streamkit.cli import asking, reading, values
from streamkit.cli.commands import CommandParser
from streamkit.cli.exits import OF_AN_ANSWER

EXAMPLES = """\
streamkit run demo "Count to 10"
    with the embedded provider, without key and network
streamkit run openai "Count to 10" --model gpt-4o-mini
    with a preset: its URL, and the key from its environment variable, OPENAI_API_KEY
streamkit run http://localhost:8000/v1 "Count to 10" --model my-model --price 0.15/0.60
    any server with OpenAI's API; in a terminal, the line below the text shows tokens, rate and cost
streamkit run https://api.openai.com/v1 --body request.json --key-from OPENAI_API_KEY --record answer.jsonl
    your own request, and a recording of its answer
streamkit run demo "What is the launch code?" --rules rules.toml --stage 'Smooth("word")'
    with rules, and with a stage and its options
echo "Count to 10" | streamkit run demo
    with the prompt, or a request as JSON, from standard input
streamkit run demo "Count to 10" --json
    the completion as one JSON object, in the format of a non-streaming response
"""


def describe(parser: CommandParser) -> None:
    """Add the options."""
    parser.describe(
        "Send a request to an endpoint, and write the text of the answer while it arrives.", EXAMPLES, OF_AN_ANSWER
    )
    asking.describe(parser)
    add = parser.add_argument
    add(
        "prompt",
        nargs="?",
        type=values.sent,
        metavar="PROMPT",
        help="the prompt for --model; without PROMPT and --body, standard input is the prompt, or a request as JSON",
    )
    add("--body", metavar="FILE", help="send this request, a JSON object; - is standard input")
    add("--model", type=values.sent, help="the model; replaces that of --body")
    add(
        "--as-is",
        action="store_true",
        help="send the request unchanged; otherwise `stream` is set if it is missing",
    )
    add("--record", metavar="FILE", help="record the answer, for `streamkit replay`")
    reading.describe(parser)


def run(options: argparse.Namespace) -> int:
    """Send the request and return the exit code."""
    values.check_outputs(options.record)
    url = asking.address(options)
    headers, body = asking.headers(options), _body(options, url)
    pipeline = reading.pipeline(options, body)
    return asyncio.run(_run(options, url, headers, body, pipeline))


async def _run(
    options: argparse.Namespace,
    url: str,
    headers: dict[str, str],
    body: dict[str, Any],
    pipeline: AnyPipeline,
) -> int:
    async with asking.served(url) as served_url:
        request_body = body if options.as_is or asking.is_gemini(served_url) else {"stream": True} | body
        source: sk.Source[bytes] = sk.http.post(
            asking.endpoint_of(served_url, body), json=request_body, headers=headers
        )
        if options.record:
            source = sk.record(source, options.record)
        return await reading.read_source(source | pipeline, options, body)


def _body(options: argparse.Namespace, url: str) -> dict[str, Any]:
    if options.prompt is not None and options.body:
        options.error("expected PROMPT or --body, found both")
    if options.prompt is not None and not options.prompt.strip():
        options.error("expected PROMPT, found an empty one")
    if options.prompt is None and options.body is None and sys.stdin.isatty():
        options.error(asking.NO_PROMPT)
    given: dict[str, Any] | str = (
        asking.body(options.body) if options.body else options.prompt or asking.body_or_prompt()
    )
    if isinstance(given, dict):
        return given | {"model": options.model} if options.model else given
    if not options.model and not asking.is_gemini(url):
        options.error("PROMPT needs --model")
    return asking.body_of(given, options.model, url)
