"""The chat in a terminal of its own, with the embedded provider."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import pytest

from streamkit.cli.provider import serve
from tests.examples.conftest import EXAMPLES, Load
from tests.examples.providers import PROVIDER, Stalling

pty = pytest.importorskip("pty", reason="no pseudo-terminals here")
pytestmark = pytest.mark.asyncio

# The first terminal that a process without one opens is the one whose Ctrl-C it hears.
START = """\
import os, runpy, sys
os.open(os.ttyname(0), os.O_RDWR)
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@dataclass
class Terminal:
    """A screen and a keyboard."""

    keyboard: int
    news: asyncio.Queue[bytes]
    process: asyncio.subprocess.Process
    screen: str = ""

    def type(self, keys: str) -> None:
        os.write(self.keyboard, keys.encode())

    async def left(self) -> int:
        """The exit code."""
        return await asyncio.wait_for(self.process.wait(), 10)

    async def shows(self, pattern: str) -> str:
        """Wait for it, and take all up to there off the screen."""
        async with asyncio.timeout(20):
            while not (found := re.search(pattern, self.screen)):
                self.screen += (await self.news.get()).decode().replace("\r\n", "\n")
        taken, self.screen = self.screen[: found.end()], self.screen[found.end() :]
        return taken


@asynccontextmanager
async def chatting(url: str) -> AsyncGenerator[Terminal, None]:
    keyboard, line = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", START, str(EXAMPLES / "terminal_chat.py"), f"{url}/v1"),
        stdin=line,
        stdout=line,
        stderr=line,
        start_new_session=True,
    )
    os.close(line)
    news = asyncio.Queue[bytes]()

    def read() -> None:
        try:
            news.put_nowait(os.read(keyboard, 4096))
        # Nobody is at the other end. (Linux)
        except OSError:
            loop.remove_reader(keyboard)

    loop = asyncio.get_running_loop()
    loop.add_reader(keyboard, read)
    try:
        yield Terminal(keyboard, news, process)
    finally:
        loop.remove_reader(keyboard)
        if process.returncode is None:
            process.kill()
        await process.wait()
        os.close(keyboard)


async def test_it_keeps_the_conversation_tells_tokens_and_time_and_does_not_obey_the_model() -> None:
    heard: list[str] = []
    answers = {"What is your title?": "\x1b]0;mine\x07, yours"}
    provider = replace(PROVIDER, answers=answers, count=lambda text: heard.append(text) or 0)
    async with serve(provider) as url, chatting(url) as terminal:
        await terminal.shows("> ")
        terminal.type("Count to 3\n")
        assert "1, 2, 3.\n[9 tokens, " in await terminal.shows(r"\d\.\d s, completed\]\n> ")
        del heard[:]
        terminal.type("What is 1+1?\n")
        await terminal.shows(r"2\n\[1 tokens, .*\]\n> ")
        assert heard == ["Count to 3", "\n\n1, 2, 3.", "What is 1+1?", "2"]

        terminal.type("What is your title?\n")
        assert "\n\ufffd]0;mine\ufffd, yours\n" in await terminal.shows(r"s, completed\]\n> ")
        terminal.type("\x04")
        assert await terminal.left() == 0


async def test_ctrl_c_ends_the_answer_and_not_the_program() -> None:
    stalling, heard = Stalling(pieces=6), list[str]()
    provider = replace(stalling.provider, count=lambda text: heard.append(text) or 0)
    async with serve(provider) as url, chatting(url) as terminal:
        await terminal.shows("> ")
        terminal.type("Count to 100\n")
        await terminal.shows("1, 2, 3")
        await stalling.stalled.wait()
        terminal.type("\x03")
        assert re.search(r"\[\d tokens, \d+\.\d s, stopped\]\n> ", await terminal.shows("> "))
        await asyncio.wait_for(stalling.left.wait(), 5)

        del heard[:]
        stalling.go_on.set()
        terminal.type("What is 1+1?\n")
        await terminal.shows(r"2\n\[1 tokens, .*\]\n> ")
        assert heard == ["Count to 100", "\n\n1, 2, 3", "What is 1+1?", "2"]
        terminal.type("\n")
        assert await terminal.left() == 0


async def test_a_provider_that_is_not_there_is_told_of_and_the_chat_goes_on() -> None:
    async with chatting("http://127.0.0.1:9") as terminal:
        await terminal.shows("> ")
        terminal.type("Hello\n")
        assert re.search(r"\[0 tokens, .* s, .*: no connection: ", await terminal.shows(r"\]\n> "))
        terminal.type("\x04")
        assert await terminal.left() == 0


@pytest.mark.parametrize("key", [EOFError, KeyboardInterrupt])
async def test_there_is_no_further_question_after_ctrl_d_or_ctrl_c(
    load: Load, monkeypatch: pytest.MonkeyPatch, key: type[BaseException]
) -> None:
    # Not through the terminal: `input` misses a signal between its prompt and its first read.
    def pressed(prompt: str) -> str:
        raise key

    monkeypatch.setattr("builtins.input", pressed)
    assert load("terminal_chat").ask() == ""
