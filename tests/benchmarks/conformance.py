"""The table in docs/reference/conformance.md: how many of the vectors streamkit's reader gets right, beside other readers.

    python tests/benchmarks/conformance.py [--write]

The vectors and the others' figures are in `../shared/conformance`; a case counts if it is right whole, in its own pieces, one
byte at a time and cut in two at every byte, which is how the others in the table were judged too.
"""

import argparse
import base64
import json
from pathlib import Path
from typing import Any

import streamkit as sk

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "conformance"
PAGE = ROOT / "docs" / "reference" / "conformance.md"
HEAD = "| reader | events | last event IDs | retry |"


def body_of(case: dict[str, Any]) -> bytes:
    """The bytes of a case."""
    if "input_b64" in case:
        return base64.b64decode(case["input_b64"])
    if "input_parts" in case:
        return "".join(text * times for text, times in case["input_parts"]).encode()
    return str(case["input"]).encode()


def cuttings(case: dict[str, Any], body: bytes) -> list[list[bytes]]:
    """All the ways in which the case must come out the same; long bodies are cut in two at 200 places only."""
    own: list[bytes] = []
    at = 0
    for length in case.get("chunks", []):
        own.append(body[at : at + length])
        at += length
    step = max(1, len(body) // 200)
    halves = [[body[:cut], body[cut:]] for cut in range(0, len(body) + 1, step)]
    single = [[body[i : i + 1] for i in range(len(body))]] if len(body) < 200_000 else []
    return [[body], [*own, body[at:]], *single, *halves]


def right(case: dict[str, Any], pieces: list[bytes]) -> tuple[bool, bool, bool]:
    """Whether events, last event ID and reconnection time come out as expected."""
    run = (sk.sse.Lines() | sk.Parse(strict=True)).run(pieces)
    found = list(run)
    expected = case["expect"]
    events = len(found) == len(expected["events"]) and all(
        event.event == wanted["type"]
        and (len(event.data) == wanted["data_chars"] if "data_chars" in wanted else event.data == wanted["data"])
        and event.id == wanted["last_event_id"]
        for event, wanted in zip(found, expected["events"], strict=True)
    )
    parse = run.stage(sk.Parse)
    retries = expected["retry"]
    return events, parse.last_event_id == expected["last_event_id"], parse.retry == (retries[-1] if retries else None)


def table() -> str:
    """The rows: this reader measured now, the others as they were recorded."""
    cases = json.loads((SHARED / "sse_vectors.json").read_text(encoding="utf-8"))["cases"]
    counts = [0, 0, 0]
    retry_cases = [case for case in cases if case["expect"]["retry"]]
    for case in cases:
        verdicts = [right(case, pieces) for pieces in cuttings(case, body_of(case))]
        counts[0] += all(verdict[0] for verdict in verdicts)
        counts[1] += all(verdict[1] for verdict in verdicts)
        counts[2] += case in retry_cases and all(verdict[2] for verdict in verdicts)
    rows = [
        f"| **streamkit {sk.__version__}** | **{counts[0]}** | **{counts[1]}** | {counts[2]} of {len(retry_cases)} |"
    ]
    peers = json.loads((SHARED / "peer_conformance.json").read_text(encoding="utf-8"))["rows"]
    for peer in sorted(peers, key=lambda row: -int(row["public_events"] or 0)):
        ids = "–" if peer["public_ids"] is None else peer["public_ids"]
        retry = "–" if peer["retry_right"] is None else peer["retry_right"]
        rows.append(f"| {peer['peer']} | {peer['public_events']} | {ids} | {retry} |")
    return "\n".join([HEAD, "|---|---|---|---|", *rows])


def main() -> None:
    """Print the table, or write it into the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    found = table()
    if parser.parse_args().write:
        before = PAGE.read_text(encoding="utf-8").partition(HEAD)[0]
        PAGE.write_text(f"{before}{found}\n", encoding="utf-8")
    print(found)


if __name__ == "__main__":
    main()
