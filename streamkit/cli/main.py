"""The `streamkit` command."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import streamkit
from streamkit.cli import batching, comparing, demo, doctor, inspection, listing, new_plugin, reading, show
from streamkit.cli.complaint import complaint
from streamkit.cli.provider import Provider, serve
from streamkit.errors import StreamkitError

TRY = """\
curl -N {url}/chat/completions -H 'content-type: application/json' \
-d '{{"stream": true, "messages": [{{"role": "user", "content": "Count to 10"}}]}}'"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and give its exit code. Wrong arguments raise `SystemExit(2)`."""
    options = _options(argv)
    try:
        match options.command:
            case "demo":
                demo.run(fast=options.fast)
            case "run":
                return reading.run(options)
            case "replay":
                return reading.replay(options)
            case "inspect":
                console = show.make_console()
                return inspection.run(console, options.file, stall=options.stall, as_json=options.json)
            case "batch":
                return batching.run(options)
            case "compare":
                return comparing.run(show.make_console(), options)
            case "plugins":
                return listing.run(show.make_console(widest=None), as_json=options.json)
            case "new-plugin":
                return new_plugin.run(show.make_console(widest=None), options)
            case "doctor":
                return doctor.run(show.make_console(widest=None))
            case _:
                asyncio.run(_serve(_provider(options), options.host, options.port))
    except (StreamkitError, OSError) as error:
        print(f"streamkit: {complaint(error, verbose=getattr(options, 'verbose', False))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130
    return 0


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = _parser()
    options, rest = parser.parse_known_args(argv)
    # argparse decides that an optional argument is missing when an option comes before it.
    if rest and getattr(options, "prompt", "") is None and not rest[0].startswith("-"):
        options.prompt = rest.pop(0)
    if rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="streamkit", description="The piece between a language model's event stream and an application."
    )
    parser.add_argument("--version", action="version", version=f"streamkit {streamkit.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _describe_demo(commands.add_parser("demo", help="show what streamkit does; needs no key and no network"))
    reading.describe_run(commands.add_parser("run", help="ask an endpoint, and write the answer while it comes"))
    reading.describe_replay(commands.add_parser("replay", help="write the text of a recorded answer as it came"))
    inspection.describe(commands.add_parser("inspect", help="tell what is in a recording"))
    batching.describe(commands.add_parser("batch", help="read many recordings, and write a line of results for each"))
    comparing.describe(commands.add_parser("compare", help="measure what streaming saves at an endpoint"))
    listing.describe(commands.add_parser("plugins", help="list what installed packages offer"))
    new_plugin.describe(commands.add_parser("new-plugin", help="write a package with a stage of your own"))
    commands.add_parser("doctor", help="tell what this installation has, and what it lacks")
    _describe_serve_demo(commands.add_parser("serve-demo", help="run the demo's provider until Ctrl-C"))
    return parser


def _describe_demo(parser: argparse.ArgumentParser) -> None:
    parser.description = "Show what streamkit does, with a provider of its own. Needs no key and no network."
    parser.add_argument("--fast", action="store_true", help="let the provider answer almost at once")


def _describe_serve_demo(parser: argparse.ArgumentParser) -> None:
    parser.description = "Run a small provider that speaks as the OpenAI completion APIs do, until Ctrl-C or SIGTERM."
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="the address to listen on (%(default)s)")
    add("--port", type=_port, default=0, help="the port; 0, the default, takes a free one")
    add("--first-token", type=_seconds, default=0.1, metavar="SECONDS", help="the wait for an answer (%(default)s)")
    add(
        "--token", type=_seconds, default=0.015, metavar="SECONDS", help="the wait for each further token (%(default)s)"
    )
    add("--recordings", type=_folder, metavar="DIR", help="replay the .sse files of this folder too")
    add("--seed", type=int, metavar="N", help="make the ids of the answers repeatable")


def _port(text: str) -> int:
    if text.isdecimal() and (port := int(text)) <= 65535:
        return port
    raise argparse.ArgumentTypeError(f"expected 0 to 65535, found {text!r}")


def _seconds(text: str) -> float:
    with suppress(ValueError):
        if 0 <= (seconds := float(text)) <= 3600:
            return seconds
    raise argparse.ArgumentTypeError(f"expected 0 to 3600 seconds, found {text!r}")


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


async def _serve(provider: Provider, host: str, port: int) -> None:
    with _asked_to_stop() as stop:
        async with serve(provider, host, port) as root:
            _announce(root, provider)
            await stop.wait()


def _announce(root: str, provider: Provider) -> None:
    # The URL stands alone in the first line, for scripts.
    lines = [f"{root}/v1", "", "Try:", f"  {TRY.format(url=f'{root}/v1')}", ""]
    if provider.recordings:
        lines += [f"Recordings: {root}/recordings/NAME/v1 for NAME.sse in {provider.recordings}", ""]
    print(*lines, "Ctrl-C ends it.", sep="\n", flush=True)


@contextmanager
def _asked_to_stop() -> Generator[asyncio.Event]:
    """Give an event that Ctrl-C and SIGTERM set, in place of what they do otherwise."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    # Not `loop.add_signal_handler`, which Windows does not have.
    def hear(*_: object) -> None:
        loop.call_soon_threadsafe(stop.set)

    before = {number: signal.signal(number, hear) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
