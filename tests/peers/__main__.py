"""Broken streams as read by other libraries, beside streamkit: docs/explanation/comparison.md.

    python -m tests.peers [NAME …] [--write]

`make peers` installs them in an environment of their own. Each reads the same five answers over HTTP, from a server in this
process:

    complete     an answer that names a secret, which comes in five pieces
    stopped      the same answer; the server closes the response properly in the middle
    web page     HTML with status 200, as a proxy sends it
    error        an error as JSON with status 200
    rate limit   an error in the stream, behind half of the answer

aiostream reads no answers: with its name, its concurrent map runs beside that of streamkit.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from aiohttp import ClientSession, web

from streamkit.cli.provider import Provider, serve
from tests.peers.operators import aiostream, concurrent_map
from tests.peers.readers import NEEDS, READERS, Reader

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "comparison.md"
BEGIN, END = "<!-- made by make peers -->", "<!-- end -->"
CASES = ("complete", "stopped", "web page", "error", "rate limit")
SECRET = "blue heron 42"
REQUEST = {"model": "gpt-4o", "stream": True, "messages": [{"role": "user", "content": "The launch code?"}]}
SECONDS = 60


async def answers() -> dict[str, tuple[str, bytes]]:
    """The content type and the body of each case."""
    async with serve(Provider(first_token_seconds=0, token_seconds=0, models=())) as url, ClientSession() as session:
        async with session.post(f"{url}/v1/chat/completions", json=REQUEST) as response:
            complete = await response.read()
    half = complete[: complete.index(b"\n\n", complete.index(b'"content":"2"')) + 2]
    error = {
        "error": {"message": "try again later", "type": "server_error", "code": "rate_limit_exceeded", "param": None}
    }
    sse = "text/event-stream"
    return {
        "complete": (sse, complete),
        "stopped": (sse, half),
        "web page": ("text/html", b"<!doctype html><title>Sign in</title>"),
        "error": ("application/json", json.dumps(error).encode()),
        "rate limit": (sse, half + b"data: " + json.dumps(error).encode() + b"\n\n"),
    }


@asynccontextmanager
async def server() -> AsyncGenerator[str, None]:
    """The root of a server with a base URL for each case: `ROOT/CASE/v1`."""
    bodies = await answers()

    async def answer(request: web.Request) -> web.StreamResponse:
        kind, body = bodies[request.match_info["case"]]
        response = web.StreamResponse(headers={"content-type": kind})
        await response.prepare(request)
        await response.write(body)
        await response.write_eof()
        return response

    app = web.Application()
    app.router.add_post("/{case}/v1/chat/completions", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


async def shown(reader: Reader, base: str) -> str:
    """An answer as read by a reader, in a few words."""
    text: list[str] = []
    try:
        async with asyncio.timeout(SECONDS):
            end = await reader(base, text)
    except Exception as error:
        end = f"`{type(error).__name__}`"
    seen = "".join(text)
    secret = "secret" if SECRET in seen else "redacted" if "[redacted]" in seen else "text" if seen else "nothing"
    return f"{secret}, {end}"


def version_of(name: str) -> str:
    """The version that is installed; empty for what is not."""
    try:
        return version(NEEDS[name])
    except PackageNotFoundError:
        return ""


async def table(names: list[str]) -> list[str]:
    """A row for each reader: what it printed, and how it ended."""
    lines = ["| | " + " | ".join(CASES) + " |", "|---|" + "---|" * len(CASES)]
    async with server() as root:
        for name in names:
            if not version_of(name):
                print(f"{name}: not installed here (it may need a later Python)", file=sys.stderr)
                continue
            cells = [await shown(READERS[name], f"{root}/{case.replace(' ', '%20')}/v1") for case in CASES]
            title, *option = name.split(", ")
            lines.append(f"| {', '.join([f'{title} {version_of(name)}', *option])} | " + " | ".join(cells) + " |")
            print(lines[-1], flush=True)
    return lines


async def maps() -> None:
    """A slow function over 20 items, 8 at a time, by aiostream and by streamkit."""
    for name, run in (("aiostream", aiostream), ("streamkit", concurrent_map)):
        running, most = 0, 0

        async def double(number: int) -> int:
            nonlocal running, most
            running, most = running + 1, max(most, running + 1)
            await asyncio.sleep(0.05)
            running -= 1
            return 2 * number

        results = await run(double, range(20), 8)
        print(f"{name}: {most} calls at once, results in order: {results == [2 * number for number in range(20)]}")


def main() -> int:
    """Print the table of those that are named, or of all, and 1 if the page has another; with `--write` put it there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join([*READERS, "aiostream"]))
    parser.add_argument("--write", action="store_true", help="put the table into the page")
    asked = parser.parse_args()
    if "aiostream" in asked.names or not asked.names:
        asyncio.run(maps())
    names = [name for name in asked.names if name != "aiostream"] if asked.names else list(READERS)
    lines = asyncio.run(table(names)) if names else []
    made = "\n".join(lines)
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    written, _, after = rest.partition(END)
    if asked.write:
        PAGE.write_text(f"{before}{BEGIN}\n\n{made}\n\n{END}{after}", encoding="utf-8")
    elif missing := [line for line in lines if line not in written.splitlines()]:
        print("not so on the page:", *missing, sep="\n", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
