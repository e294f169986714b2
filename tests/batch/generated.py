"""Recordings made up for batches: of every kind that an archive has, the same ones for each number."""

import gzip
import json
from pathlib import Path
from random import Random

from streamkit.sources.recording import end_line, head_line, piece_line

WORDS = ["the", "quick", "fox", "jumps", "over", "a", "lazy", "dog", "while", "émigrés", "drink", "tea", "from", "東京"]
SECRET = "Tango Charlie"


def chunks(number: int, deltas: int) -> list[str]:
    """The events of one answer of OpenAI's; every seventh has something forbidden."""
    random = Random(number)
    words = [random.choice(WORDS) + " " for _ in range(deltas)]
    if number % 7 == 0:
        words[deltas // 2] = f"{SECRET} "
    same = {"id": f"chatcmpl-{number}", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-mini"}
    bodies = [{"choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}]} for word in words]
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    usage = {
        "choices": [],
        "usage": {"prompt_tokens": 9, "completion_tokens": deltas, "total_tokens": deltas + 9},
    }
    return [f"data: {json.dumps({**same, **body})}\n\n" for body in (*bodies, end, usage)] + ["data: [DONE]\n\n"]


def recording(events: list[str], end: bool = True) -> bytes:
    """The file that `record` writes of them."""
    pieces = [piece_line(0.25 + at / 64, event.encode()) for at, event in enumerate(events)]
    return b"".join([head_line({"status": 200}), *pieces, end_line(0.5 + len(events) / 64, "eof") if end else b""])


def content(number: int, deltas: int) -> tuple[str, bytes]:
    """The name and the bytes of one file."""
    events = chunks(number, deltas)
    body = "".join(events).encode()
    match number % 20:
        case 3:
            return f"{number:06}.sse", "".join(events[: deltas // 2]).encode()
        case 5:
            return f"{number:06}.sse", b"<html><body>502 Bad Gateway</body></html>"
        case 8:
            return f"{number:06}.sse.gz", gzip.compress(body, 1, mtime=0)
        case 11:
            return f"{number:06}.sse.gz", gzip.compress(body, 1, mtime=0)[:-20]
        case 13:
            return f"{number:06}.json", b'{"error": {"message": "overloaded", "type": "server_error", "code": null}}'
        case 16:
            return f"{number:06}.sse", body
        case 18:
            return f"{number:06}.jsonl", recording(events[: deltas // 2], end=False)
        case _:
            return f"{number:06}.jsonl", recording(events)


def write(folder: Path, number: int, deltas: int = 12) -> Path:
    """Write so many files, a thousand to a folder, and return `folder`."""
    for each in range(number):
        name, data = content(each, deltas)
        path = folder / f"{each // 1000:03}" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder
