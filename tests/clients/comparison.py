"""Official clients read every recording three times: the provider's own stream, streamkit's, and streamkit's whole answer."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from tests.clients.gateway import recordings

CLIENTS = ("openai", "langchain-openai", "litellm", "openai (npm)", "ai")
WITH_COMPLETIONS = ("openai", "openai (npm)")
"""Clients that read the older completions too."""
Task: TypeAlias = dict[str, Any]
Read: TypeAlias = Callable[[str, list[Task]], Awaitable[list[Task]]]
"""The tasks of a client, each with its `answer`."""


@dataclass(frozen=True, order=True)
class Difference:
    """A field in which two readings by one client are not the same."""

    against: str
    field: str
    client: str
    recording: str
    seen: tuple[str, str]


@dataclass
class Result:
    """The result for one client: how many recordings were compared with what, and the differences."""

    client: str
    compared: dict[str, int]
    differences: list[Difference]


def tasks(client: str, base_url: str) -> Iterator[Task]:
    """The expected reading of a client."""
    for recording in recordings():
        if recording.api == "completions" and client not in WITH_COMPLETIONS:
            continue
        for way, stream in (("raw", True), ("written", True), ("written", False)):
            if way == "written" or recording.own:
                yield {
                    "name": recording.name,
                    "way": way if stream else "whole",
                    "url": f"{base_url}/{way}/{recording.name}/v1",
                    "api": recording.api if recording.own else "chat.completions",
                    "stream": stream,
                }


async def compare(client: str, base_url: str, read: Read) -> Result:
    """Let one client read all, and put what it made of each side by side."""
    answers = {
        (task["name"], task["way"]): task["answer"] for task in await read(client, list(tasks(client, base_url)))
    }
    result = Result(client, {"raw": 0, "whole": 0}, [])
    for name in dict.fromkeys(name for name, _ in answers):
        written = answers[name, "written"]
        for against in ("raw", "whole"):
            if (name, against) in answers:
                result.compared[against] += 1
                fields = _fields(answers[name, against]), _fields(written)
                result.differences += _differences(client, name, against, *fields)
    return result


def _fields(answer: dict[str, Any]) -> dict[str, Any]:
    """The fields of an answer by their names, those of the choices by the choices' numbers."""
    choices: dict[str, dict[str, Any]] = answer.get("choices", {})
    found = {name: value for name, value in answer.items() if name != "choices"}
    for name in dict.fromkeys(name for choice in choices.values() for name in choice):
        found[name] = {index: choice.get(name) for index, choice in choices.items()}
    return found


def _differences(
    client: str, recording: str, against: str, expected: dict[str, Any], found: dict[str, Any]
) -> Iterator[Difference]:
    if expected["error"] or found["error"]:
        # What else there is depends on when the client gave up. Whole, an error is a status with a class of its own.
        expected, found = (
            {"error": each["error"] if against == "raw" else bool(each["error"])} for each in (expected, found)
        )
    # Streamed and whole are two responses; where the provider gave none, each has an id of its own.
    ignored = ("id",) if against == "whole" else ()
    for name in expected.keys() | found.keys():
        seen = expected.get(name), found.get(name)
        if name not in ignored and seen[0] != seen[1]:
            yield Difference(against, name, client, recording, (_shown(seen[0]), _shown(seen[1])))


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


async def in_process(command: Iterable[str], tasks: list[Task], seconds: float, env: dict[str, str]) -> list[Task]:
    """Give the tasks to another program, as lines of JSON, and read its answers. It may take so many seconds."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=env
    )
    lines = "".join(json.dumps(task) + "\n" for task in tasks).encode()
    try:
        async with asyncio.timeout(seconds):
            out, errors = await process.communicate(lines)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    answers = [json.loads(line) for line in out.splitlines() if line.startswith(b"{")]
    if process.returncode or len(answers) != len(tasks):
        raise RuntimeError(f"{' '.join(command)}: {len(answers)} of {len(tasks)} answers\n{errors.decode()[-2000:]}")
    return answers
