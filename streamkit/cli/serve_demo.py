"""`streamkit serve-demo`: runs the embedded provider on its own."""

import argparse
import asyncio
import json
import signal
import socket
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from streamkit.cli import values
from streamkit.cli.commands import CommandParser
from streamkit.cli.provider import Provider, serve
from streamkit.errors import PipelineError

TRY = """\
curl -N {url}/chat/completions -H 'content-type: application/json' \
-d '{{"stream": true, "messages": [{{"role": "user", "content": "Count to 10"}}]}}'"""
EXAMPLES = """\
streamkit serve-demo --port 8080
    then: streamkit run http://127.0.0.1:8080/v1 "Count to 10" --model any
streamkit serve-demo --recordings recordings/ --seed 1
    also serves the .sse and .jsonl files of a folder; the ids of the answers are repeatable
"""


def describe(parser: CommandParser) -> None:
    """Add the options."""
    parser.describe(
        "Run a small provider with the wire format of OpenAI's APIs, until Ctrl-C or SIGTERM.",
        EXAMPLES,
        "0 ended by Ctrl-C or SIGTERM, 1 an error, such as a port that is in use",
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="the address to listen on (%(default)s)")
    add("--port", type=values.port, default=0, help="the port; 0, the default, selects a free one")
    add(
        "--first-token",
        type=values.seconds,
        default=0.1,
        metavar="SECONDS",
        help="the time to the first token (%(default)s)",
    )
    add(
        "--token",
        type=values.seconds,
        default=0.015,
        metavar="SECONDS",
        help="the time between two tokens (%(default)s)",
    )
    add("--recordings", type=_folder, metavar="DIR", help="also replay the .sse and .jsonl files of this folder")
    add("--seed", type=int, metavar="N", help="make the ids of the answers repeatable")
    add("--json", action="store_true", help="write only the base URL, as a JSON object in one line")


def run(options: argparse.Namespace) -> int:
    """Serve until a signal."""
    asyncio.run(_serve(_provider(options), options.host, options.port, as_json=options.json))
    return 0


def _folder(text: str) -> Path:
    if not (path := Path(text)).is_dir():
        raise argparse.ArgumentTypeError(f"expected a folder, found {text!r}")
    return path


def _provider(options: argparse.Namespace) -> Provider:
    return Provider(
        first_token_seconds=options.first_token,
        token_seconds=options.token,
        recordings=options.recordings,
        seed=options.seed,
    )


async def _serve(provider: Provider, host: str, port: int, *, as_json: bool) -> None:
    with _asked_to_stop() as stop:
        try:
            async with serve(provider, host, port) as root:
                _announce(root, provider, as_json=as_json)
                await stop.wait()
        except socket.gaierror as error:
            raise PipelineError(
                f"--host: expected an address of this machine, found {host!r}: {error.strerror}"
            ) from error


def _announce(root: str, provider: Provider, *, as_json: bool = False) -> None:
    if as_json:
        print(json.dumps({"url": f"{root}/v1"}), flush=True)
        return
    # The first line is only the URL, for scripts.
    lines = [f"{root}/v1", "", "Try:", f"  {TRY.format(url=f'{root}/v1')}", ""]
    if provider.recordings:
        lines += [f"Recordings: {root}/recordings/NAME/v1 for NAME.sse in {provider.recordings}", ""]
    print(*lines, "Ctrl-C ends it.", sep="\n", flush=True)


@contextmanager
def _asked_to_stop() -> Generator[asyncio.Event]:
    """Yield an event that Ctrl-C and SIGTERM set, replacing their usual handlers."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    # Not `loop.add_signal_handler`, which is missing on Windows.
    def on_signal(*_: object) -> None:
        loop.call_soon_threadsafe(stop.set)

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
