"""Requests of `useChat`, as the AI SDK's own `convertToModelMessages` and as `translate` read it: a part of `make clients`.

    python -m tests.clients.front_ends --python PYTHON --node NODE --modules FOLDER

FOLDER has npm's modules. The requests are made at random from the types of `UIMessage`.
"""

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from streamkit.requests import translate
from tests.requests.front_end_types import ChatRequest
from tests.requests.official import body_of

REQUESTS = 500
SCRIPT = "model_messages.mjs"
SECONDS = 120.0


def requests() -> list[dict[str, Any]]:
    """Requests without parts for which the two differ on purpose."""
    found = [body_of(ChatRequest, seed) for seed in range(REQUESTS)]
    for body in found:
        for message in body["messages"]:
            message["parts"] = [part for part in message["parts"] if _is_compared(message["role"], part)]
    return found


def _is_compared(role: str, part: dict[str, Any]) -> bool:
    # Instructions are text; the assistant has no files in chat completions; a provider's own calls and files are known to it
    # alone; and sound and documents at an address and video are in none of its requests.
    if part["type"] == "file":
        picture = part["mediaType"].startswith("image") or part["url"].startswith("data:")
        seen = picture and not part["mediaType"].startswith(("audio", "video"))
        return role == "user" and "providerReference" not in part and seen
    return part.get("providerExecuted") is not True and part["type"] != "steering-message"


def of_sdk(messages: list[dict[str, Any]]) -> Iterator[tuple[Any, ...]]:
    """The texts, files, calls and results in their order, each with its role, as the AI SDK has them."""
    for message in messages:
        content = message["content"]
        for part in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            match part:
                case {"type": "text", "text": text} if text:
                    yield message["role"], text
                case {"type": "file", "data": data}:
                    yield message["role"], "file", data["url"].partition(";")[2] or data["url"]
                case {"type": "tool-call"}:
                    yield "assistant", part["toolCallId"], part["toolName"], part.get("input") or {}
                case {"type": "tool-result", "output": output}:
                    denied = output.get("reason") or "Tool call execution denied."
                    value = denied if output["type"] == "execution-denied" else output["value"]
                    yield "tool", part["toolCallId"], value
                case _:
                    pass


def of_chat(messages: list[dict[str, Any]]) -> Iterator[tuple[Any, ...]]:
    """The same of chat completions."""
    for message in messages:
        role, content = message["role"], message.get("content")
        if role == "tool":
            yield role, message["tool_call_id"], _value(content)
            continue
        for part in [{"type": "text", "text": content}] if isinstance(content, str) else content or []:
            match part:
                case {"text": text} if text:
                    yield role, text
                case {"image_url": {"url": url}} | {"file": {"file_data": url}}:
                    yield role, "file", url.partition(";")[2] or url
                case _:
                    pass
        for call in message.get("tool_calls") or []:
            yield role, call["id"], call["function"]["name"], _value(call["function"]["arguments"])


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def normal(found: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Texts of one role in a row are one, and the assistant's stand before its calls, as chat completions have them."""
    steps = [[*step] for _, step in groupby(found, lambda one: one[0])]
    return [
        one
        for step in steps
        for one in (
            (step[0][0], "".join(text for _, text in (one for one in step if len(one) == 2))),
            *(one for one in step if len(one) > 2),
        )
    ]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--python")
    parser.add_argument("--node", required=True)
    parser.add_argument("--modules", type=Path, required=True)
    arguments = parser.parse_args()
    shutil.copy(Path(__file__).parent / "javascript" / SCRIPT, arguments.modules)
    sent = requests()
    made = subprocess.run(
        [arguments.node, SCRIPT],
        cwd=arguments.modules,
        input=json.dumps([body["messages"] for body in sent]),
        capture_output=True,
        text=True,
        check=True,
        timeout=SECONDS,
    )
    failed = compared = 0
    for body, messages in zip(sent, json.loads(made.stdout), strict=True):
        ours = [*of_chat(translate(body, source="ai-sdk", target="openai").body["messages"])]
        theirs = [*of_sdk(messages)]
        compared += len(theirs)
        if normal(ours) != normal(theirs):
            failed += 1
            print(f"expected {theirs}\nfound    {ours}"[:2000])
    print(
        f"requests of useChat: {len(sent) - failed} as convertToModelMessages reads them ({compared} parts), {failed} not"
    )
    return int(failed > 0 or not compared)


if __name__ == "__main__":
    sys.exit(main())
