"""`streamkit inspect`: what is in a recording. The text of the answer is not shown."""

import argparse
import asyncio
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console

import streamkit as sk
from streamkit.dialects import DIALECTS
from streamkit.errors import StreamkitError
from streamkit.events import Json
from streamkit.sources.recording import VERSION, is_timed, read_recording

FACTS = ("method", "url", "status")


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.description = "Tell what is in a recording, without the text of the answer."
    parser.add_argument("file", metavar="FILE", type=Path, help="a recording, or the body of an answer")
    parser.add_argument(
        "--stall", type=float, default=1.0, metavar="SECONDS", help="a wait of more is a stall (%(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="write it as JSON")


def run(console: Console, path: Path, *, stall: float = 1.0, as_json: bool = False) -> int:
    """Print it. 1 if the answer in it can't be read to its end."""
    content = path.read_bytes()
    found = {"recording": _head(content), "pieces": _pieces(content), **asyncio.run(_read(path, stall))}
    if as_json:
        console.out(msgspec.json.encode(found).decode(), highlight=False)
    else:
        for name, value in found.items():
            if value:
                unknown = "unknown, " if name == "timings" and value["total"] is None else ""
                console.out(f"{name:10} {unknown}{_told(value)}", highlight=False)
    return 1 if found["error"] else 0


async def _read(path: Path, stall: float) -> dict[str, Any]:
    """The events of the recording, read by the pipeline."""
    stream = sk.replay(path) | sk.Parse() | sk.Extract() | sk.Accumulate() | sk.Timing()
    counts: Counter[str] = Counter()
    timings, error = None, None
    try:
        async with stream as events:
            async for event in events:
                counts[type(event).__name__] += 1
                if isinstance(event, sk.Timings):
                    timings = event
    except StreamkitError as failure:
        error = f"{type(failure).__name__}: {failure}"
    timings = timings or stream.stage(sk.Timing).timings
    completion = stream.stage(sk.Accumulate).snapshot
    spoken = stream.stage(sk.Extract).spoken
    return {
        "dialect": next((name for name, kind in DIALECTS.items() if kind is spoken), None),
        "model": completion.model,
        "events": dict(counts.most_common()),
        "end": stream.end.reason if stream.end else None,
        "error": error,
        "choices": [{"finish": choice.finish_reason, "characters": len(choice.text)} for choice in completion.choices],
        "usage": _usage(completion.usage),
        "timings": timings.to_dict(),
        "stalls": None if timings.total is None else list(map(msgspec.structs.asdict, timings.stalls(stall))),
    }


def _usage(usage: sk.Usage | None) -> dict[str, Any] | None:
    """The provider's own object, or of several responses the sums."""
    if usage is None:
        return None
    if usage.responses == 1:
        return usage.to_dict()
    figures = {name: getattr(usage, name) for name in ("prompt_tokens", "completion_tokens", "total_tokens")}
    return {"responses": usage.responses, **figures}


def _head(content: bytes) -> dict[str, Any]:
    """Describe the request from the recording's first line; any other file has none."""
    with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        match msgspec.json.decode(content.partition(b"\n")[0]):
            case {"streamkit": str(version), **facts}:
                return {"format": version, **{name: facts[name] for name in FACTS if name in facts}}
            case _:
                pass
    return {"format": f"no {VERSION}, but a body in one piece"}


def _pieces(content: bytes) -> dict[str, Any]:
    pieces: list[tuple[float, int]] = []
    # The replay meets the same error and tells it.
    with suppress(StreamkitError):
        pieces.extend((at, len(data)) for at, data in read_recording(content))
    return {
        "number": sum(1 for _, size in pieces if size),
        "bytes": sum(size for _, size in pieces),
        # A body without times came at no time that is known, and not at 0.
        "seconds": max((at for at, _ in pieces), default=0.0) if is_timed(content) else None,
    }


def _told(value: Json) -> str:
    match value:
        case dict():
            return ", ".join(f"{name} {_told(each)}" for name, each in value.items() if each is not None)
        case list():
            return "; ".join(map(_told, value))
        case float():
            return f"{value:.3f}".rstrip("0").rstrip(".")
        case _:
            return str(value)
