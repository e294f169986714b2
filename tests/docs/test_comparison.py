"""The README's first screen: its eight lines run as printed, and its table says of a loop and of OpenAI's SDK what they do."""

import ast
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from threading import Timer
from typing import Any

import aiohttp
import openai
import pytest
import pytest_asyncio

import streamkit as sk
from streamkit.cli.provider import Provider, serve
from streamkit.dialects import DIALECTS
from tests.benchmarks import pipeline

README = Path(__file__).parents[2] / "README.md"
SECRET = "blue heron 42"
ANSWER = f"Certainly. The launch is at dawn, the code word is {SECRET}, and nobody else should hear of it."
CUT = ANSWER[: ANSWER.index(", and nobody")]
BODY: dict[str, Any] = {
    "model": "gpt-4o",
    "messages": [{"role": "user", "content": "The launch code?"}],
    "stream": True,
}
Read = Callable[[str, str], Coroutine[Any, Any, str]]


@pytest_asyncio.fixture
async def url() -> AsyncGenerator[str, None]:
    async with serve(Provider(first_token_seconds=0, token_seconds=0, models=())) as root:
        yield root


async def by_hand(url: str, fault: str) -> str:
    """The text, by the loop that everybody writes first."""
    text = ""
    async with aiohttp.ClientSession(headers={"x-demo-fault": fault} if fault else None) as session:
        async with session.post(f"{url}/v1/chat/completions", json=BODY) as response:
            response.raise_for_status()
            async for line in response.content:
                if line.startswith(b"data: {"):
                    for choice in json.loads(line.removeprefix(b"data: "))["choices"]:
                        text += choice["delta"].get("content") or ""
    return text


async def by_sdk(url: str, fault: str) -> str:
    """The text, by OpenAI's client."""
    text = ""
    headers = {"x-demo-fault": fault} if fault else {}
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0) as client:
        async for chunk in await client.chat.completions.create(**BODY, extra_headers=headers):
            for choice in chunk.choices:
                text += choice.delta.content or ""
    return text


def stream(url: str, fault: str, *more: Any) -> sk.Stream[sk.Event]:
    stages: Any = sk.Parse() | sk.Extract()
    for stage in more:
        stages = stages | stage
    opened: sk.Stream[sk.Event] = (
        sk.http.post(f"{url}/v1/chat/completions", json=BODY, headers={"x-demo-fault": fault} if fault else {}) | stages
    )
    return opened


async def place_of_cut(url: str) -> int:
    """How many bytes of the body come before the chunk that begins the rest of the answer."""
    async with aiohttp.ClientSession() as session, session.post(f"{url}/v1/chat/completions", json=BODY) as response:
        body = await response.read()
    return body.index(b"\n\n", body.index(b'"content":"2"')) + 2


OTHERS = pytest.mark.parametrize("read", [by_hand, by_sdk])


@pytest.mark.asyncio
@OTHERS
async def test_a_forbidden_phrase_is_printed_by_others_and_held_back_by_moderate(url: str, read: Read) -> None:
    assert await read(url, "") == ANSWER
    moderated = stream(url, "", sk.Moderate(sk.Rule("secret", phrases=(SECRET,))))
    assert await moderated.text() == ANSWER.replace(SECRET, "[redacted]")


@pytest.mark.asyncio
@OTHERS
async def test_a_stream_that_stops_in_the_middle_ends_for_others_like_a_complete_one(url: str, read: Read) -> None:
    fault = f"cut={await place_of_cut(url)}:clean"
    assert await read(url, fault) == CUT
    ours = stream(url, fault)
    assert (await ours.text(), ours.end) == (CUT, sk.StreamEnd("truncated", open_choices=(0,)))


@pytest.mark.asyncio
@pytest.mark.parametrize("fault", ["cut", "reset"])
@pytest.mark.parametrize(
    ("read", "error"), [(by_hand, aiohttp.ClientPayloadError), (by_sdk, openai.APIConnectionError)]
)
async def test_a_connection_that_breaks_is_an_error_for_all_and_streamkit_delivers_everything_received(
    url: str, fault: str, read: Read, error: type[Exception]
) -> None:
    broken = f"{fault}={await place_of_cut(url)}"
    with pytest.raises(error):
        await read(url, broken)
    text = ""
    ours = stream(url, broken)
    with pytest.raises(sk.errors.Disconnected):
        async with ours as events:
            async for event in events:
                text += event.text if isinstance(event, sk.TextDelta) else ""
    assert (text, ours.end) == (CUT, sk.StreamEnd("truncated"))


@pytest.mark.asyncio
@OTHERS
@pytest.mark.parametrize(("fault", "error"), [("html", sk.errors.ContentTypeError), ("json-error", sk.ProviderError)])
async def test_what_is_no_stream_is_an_empty_answer_for_others(
    url: str, read: Read, fault: str, error: type[Exception]
) -> None:
    assert await read(url, fault) == ""
    with pytest.raises(error):
        await stream(url, fault).text()


def test_the_table_has_the_figures_of_the_page_on_speed_and_the_number_of_dialects() -> None:
    page = (README.parent / "docs/explanation/speed.md").read_text(encoding="utf-8")
    live, bulk = (
        {row[0]: [float(cell) for cell in row[1:] if cell] for row in _rows(table)}
        for table in re.findall(r"^\| × floor.*\n\|[-|]+\n((?:\|.*\n)+)", page, re.MULTILINE)
    )
    ours, hand, sdk, untyped = (
        "parse, extract, accumulate with `async for`",
        "a loop by hand, `json`",
        "the OpenAI SDK",
        "a loop by hand, msgspec without types",
    )
    rows = {row[0]: row[1:] for row in _rows(README.read_text(encoding="utf-8"))}
    assert rows["CPU time per OpenAI chunk, one chunk per read (streamkit is 1; lower is better)"] == [
        f"{live[hand][0] / live[ours][0]:.1f}",
        f"{live[sdk][0] / live[ours][0]:.0f}",
        "1",
    ]
    assert rows["… per Anthropic chunk"] == [f"{live[hand][2] / live[ours][2]:.1f}", "–", "1"]
    assert rows["… per OpenAI chunk, in reads of 64 KiB"] == [
        f"{bulk[hand][0] / bulk[ours][0]:.1f}",
        f"{bulk[sdk][0] / bulk[ours][0]:.0f}",
        "1",
    ]
    comparison = (README.parent / "docs/explanation/comparison.md").read_text(encoding="utf-8")
    assert f"1/{live[sdk][0] / live[ours][0]:.0f} of the CPU time per chunk" in comparison
    assert f"{live[ours][0] / live['httpx-sse and `json`'][0]:.2f} of its time for a chunk" in comparison
    assert f"takes {live[untyped][0] / live[ours][0]:.1f} of streamkit's time" in README.read_text(encoding="utf-8")
    assert rows["wire formats"][-1] == f"{len(DIALECTS)}, detected from the first event"
    korean = README.with_name("README.ko.md").read_text(encoding="utf-8")
    assert f"| {len(DIALECTS)}가지, " in korean
    assert [row[1:] for row in _rows(korean) if "CPU 시간" in row[0]] == [
        row for name, row in rows.items() if "CPU time" in name or name.startswith("… per")
    ]


def test_the_page_on_speed_shows_the_loop_that_the_benchmark_measures() -> None:
    page = (README.parent / "docs/explanation/speed.md").read_text(encoding="utf-8")
    shown = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(shown) == 1
    assert _functions(ast.parse(shown[0])) == {
        name: code
        for name, code in _functions(ast.parse(Path(pipeline.__file__).read_text(encoding="utf-8"))).items()
        if name in ("text_of", "by_hand")
    }


def _functions(module: ast.Module) -> dict[str, str]:
    """The code of the module's functions, without docstrings."""
    found = {}
    for function in module.body:
        if isinstance(function, ast.FunctionDef):
            if ast.get_docstring(function) is not None:
                del function.body[0]
            found[function.name] = ast.unparse(function)
    return found


def _rows(text: str) -> list[list[str]]:
    return [
        [cell.strip() for cell in row.strip("| ").split(" | ")] for row in re.findall(r"^\|.*\|$", text, re.MULTILINE)
    ]


def pasted(lines: str, folder: Path) -> str:
    """Return the output of `python -m asyncio` in a terminal, into which these lines are pasted and run."""
    control, terminal = pty.openpty()
    environment = {**os.environ, "TERM": "xterm"}
    with subprocess.Popen(
        [sys.executable, "-m", "asyncio"], stdin=terminal, stdout=terminal, stderr=terminal, cwd=folder, env=environment
    ) as process:
        os.close(terminal)
        limit = Timer(120, process.kill)
        limit.start()
        shown = b""
        with suppress(OSError):  # raised when the process has ended
            while b">>> " not in shown:
                shown += os.read(control, 4096)
            os.write(control, f"{lines}\n\nexit()\n".replace("\n", "\r").encode())
            while data := os.read(control, 4096):
                shown += data
        limit.cancel()
        os.close(control)
    return re.sub(rb"\x1b\[[0-9;?]*[a-zA-Z]|\r", b"", shown).decode()


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such terminals")
def test_the_eight_lines_run_as_printed_in_the_asyncio_prompt(tmp_path: Path) -> None:
    lines = README.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    assert len(lines.splitlines()) == 8

    shown = pasted(lines, tmp_path)

    assert ANSWER.replace(SECRET, "[redacted]") in shown
    assert "Error" not in shown


def test_the_stage_of_the_readme_has_ten_lines() -> None:
    block = (
        README.read_text(encoding="utf-8").split("## A stage of your own")[1].split("```python\n")[1].split("```")[0]
    )
    stage = block[block.index("@dataclass") : block.index("short =")]
    assert len([line for line in stage.splitlines() if line]) == 10
