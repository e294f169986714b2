"""The table in docs/reference/recordings.md: what comes out of each recording, beside what others made of the same bytes.

    python -m tests.benchmarks.recordings [--write]

The recordings are in `../shared/recordings`, each with what the official client (or, where there is none, a reader that shares
no code with this one) got out of it. The whole response is judged by Anthropic's client, and in the Responses API by the
response that the last event holds.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import streamkit as sk
from tests.conftest import SHARED
from tests.dialects.official import anthropic_message
from tests.dialects.streams import Recording, payloads, read, recordings

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "recordings.md"
COLUMNS = ("text", "reasoning", "finish", "usage", "tool calls", "whole response")
HEAD = f"| recording | API | {' | '.join(COLUMNS)} |"
APIS = (
    "chat.completions",
    "completions",
    "responses",
    "anthropic.messages",
    "anthropic.complete",
    "gemini",
    "cohere.v2",
    "assistants.runs",
    "audio.transcriptions",
    "watsonx",
    "writer.completions",
    "replicate",
)
ENDS = ("response.completed", "response.incomplete", "response.failed")
NOTES = {
    "public/openai-responses-error": "it ends with the event `error`; the failed response, which says the same, comes after it",
    "public/openrouter-responses-rawcot": "the sent `output_text` is empty, though the response holds a text; ours is that text",
    "public/snowflake-chat-thinking": "the reasoning comes in `reasoning_details` alone, which the official client leaves out",
    "public/anthropic-thinking-tool": "the call has no arguments; joined, its deltas are an empty text, ours are `{}`",
}
"""Where ours is another on purpose."""
REFUSED = {
    "public/cerebras-chat-structured": "two turns of a conversation in one body, which the official client joins to one answer; "
    "the beginning of the second is a `ProtocolError`",
}
"""Recordings that are deliberately not read to their end."""

Facts = dict[str, Any]


def found(completion: sk.Completion, api: str) -> Facts:
    """The recording as read by streamkit, in the words of the sidecars."""
    choice = completion.choices[0] if completion.choices else sk.events.Choice(0)
    calls = [(call.name, _arguments(call.arguments, api)) for call in choice.tool_calls]
    return {
        "text": choice.text,
        "reasoning": choice.reasoning or "",
        "finish": choice.finish_reason,
        "usage": completion.usage and completion.usage.details,
        "tool calls": calls,
    }


def expected(sidecar: Facts, api: str) -> Facts:
    """The first choice according to the sidecar."""
    match api:
        case "chat.completions" | "completions":
            choice = sidecar["choices"].get("0", {"text": "", "finish_reason": None})
            calls = [(call["name"], call["arguments"]) for call in choice.get("tool_calls", ())]
            return {
                "text": choice["text"],
                "reasoning": choice.get("reasoning", ""),
                "finish": choice["finish_reason"],
                "usage": sidecar["usage"],
                "tool calls": calls,
            }
        case "responses":
            word = (sidecar.get("incomplete_details") or {}).get("reason") or sidecar.get("status")
            return {
                "text": "".join(sidecar["text_by_output_index"].values()),
                "reasoning": "".join(sidecar.get("reasoning_by_output_index", {}).values()),
                "finish": word,
                "usage": sidecar.get("usage"),
                "tool calls": [(c["name"], c["arguments"]) for c in sidecar.get("final_function_calls", ())],
            }
        case "anthropic.messages":
            blocks = sidecar["blocks"]
            return {
                "text": sidecar["text"],
                "reasoning": "".join(block["text"] for block in blocks if block["type"] == "thinking"),
                "finish": sidecar["stop_reason"],
                "usage": sidecar["usage"],
                "tool calls": [(b["name"], b.get("json", "")) for b in blocks if b["type"] == "tool_use"],
            }
        case "gemini":
            calls = [(call["name"], call["args"]) for call in sidecar["function_calls"]]
            said = {"text": sidecar["text"], "reasoning": sidecar["thought"], "finish": sidecar["finish_reason"]}
            return {**said, "usage": sidecar["usage"], "tool calls": calls}
        case "cohere.v2":
            calls = [(call["name"], call["arguments"]) for call in sidecar["tool_calls"]]
            said = {"text": sidecar["text"], "finish": sidecar["finish_reason"]}
            return {**said, "usage": sidecar["usage"], "tool calls": calls}
        case "anthropic.complete":
            return {"text": sidecar["text"], "finish": sidecar["stop_reason"]}
        case _:
            return {"text": sidecar["text"] or "".join(sidecar.get("final_text", ()))}


def whole(recording: Recording, api: str) -> Facts | None:
    """The response as another has it, `None` where nobody says."""
    if api == "anthropic.messages":
        return anthropic_message(recording.body)
    if api == "responses":
        ends = [payload["response"] for payload in payloads(recording.body) if payload.get("type") in ENDS]
        return ends[-1] if ends else None
    return None


def verdicts(recording: Recording, api: str) -> Iterator[str]:
    """A cell for each column: yes, no, or a dash where there is nothing to compare with, or nothing was there to be said."""
    if str(recording) in REFUSED:
        yield from ["**no**"] * len(COLUMNS)
        return
    completion = read(recording.body).completion
    ours, theirs = found(completion, api), expected(recording.expected, api)
    for column in COLUMNS[:-1]:
        if (not theirs.get(column) and not ours.get(column)) or column not in theirs:
            yield "–"
        elif column == "usage" and api == "anthropic.messages":
            # The sidecar has the counts of the last event, the message those of the first one too.
            yield _mark((ours["usage"] or {}).items() >= theirs["usage"].items())
        else:
            yield _mark(ours[column] == theirs[column])
    response = whole(recording, api)
    yield "–" if response is None else _mark(completion.to_dict() == response)


def table() -> str:
    """The rows, and what is to be said of those that disagree."""
    rows = [HEAD, "|---" * (len(COLUMNS) + 2) + "|"]
    for api in APIS:
        for recording in recordings(api):
            rows.append(f"| {recording} | {api} | {' | '.join(verdicts(recording, api))} |")
    notes = [f"- `{name}`: {note}." for name, note in {**REFUSED, **NOTES}.items()]
    return "\n".join([*rows, "", "On purpose:", "", *notes])


def _mark(agrees: bool) -> str:
    return "yes" if agrees else "**no**"


def _arguments(arguments: str, api: str) -> Any:
    return json.loads(arguments) if api == "gemini" else arguments


def main() -> None:
    """Print the table, or write it into the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    if not SHARED.is_dir():
        parser.error(f"expected the recordings in {SHARED.name}/ beside this repository")
    rows = table()
    if parser.parse_args().write:
        before = PAGE.read_text(encoding="utf-8").partition(HEAD)[0]
        PAGE.write_text(f"{before}{rows}\n", encoding="utf-8")
    print(rows)


if __name__ == "__main__":
    main()
