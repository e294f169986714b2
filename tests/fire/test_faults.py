"""Every way in which a server can go wrong has one typed outcome. The table in docs/reference/faults.md is made from this one.

STREAMKIT_WRITE_DOCS=1 python -m pytest tests/fire/test_faults.py
"""

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

import streamkit as sk
from tests.fire import server
from tests.fire.server import DONE, FINISH, HEAD, TEXT, Misbehaviour

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "faults.md"
SOON = 0.4


@dataclass
class Fault:
    what: str
    server: Misbehaviour
    reason: str
    error: type[Exception] | None = None
    deadline: str | None = None
    text: str | None = "Hello"
    """The text delivered; `None` where it depends on the size of reads."""

    @property
    def outcome(self) -> str:
        if self.error is None:
            return "nothing is raised"
        return f"`{self.error.__name__}`" + (f", deadline `{self.deadline}`" if self.deadline else "")


ODD = FINISH.replace(b"stop", b"a word of tomorrow")
LONG = b"data: " + b"x" * 70_000
LENGTH = HEAD + b"content-length: 10000\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n"
GZIP = HEAD + b"content-encoding: gzip\r\n"

FAULTS = {
    "good": Fault("nothing is wrong", server.body(TEXT, FINISH, DONE), "completed"),
    "no-done": Fault("no `[DONE]`, but a finish reason", server.body(TEXT, FINISH), "completed"),
    "drip": Fault("one byte at a time", server.drip(TEXT + FINISH + DONE), "completed"),
    "cut-clean": Fault("the body ends in the middle of the answer", server.body(TEXT), "truncated"),
    "cut-line": Fault("the body ends in the middle of a line", server.body(TEXT, FINISH[:30]), "truncated"),
    "cut-character": Fault(
        "the body ends in the middle of a character", server.body(TEXT, server.SNOW[:-13]), "truncated"
    ),
    "cut-crlf": Fault("the last blank line is missing", server.body(TEXT, FINISH, DONE[:-1]), "completed"),
    "empty": Fault("the body is empty", server.body(), "truncated", text=""),
    "done-only": Fault("nothing but `[DONE]`", server.body(DONE), "truncated", text=""),
    "unknown-word": Fault("a finish reason that is not known", server.body(TEXT, ODD, DONE), "unknown"),
    "unknown-dialect": Fault(
        "events that no dialect recognizes, with `[DONE]`",
        server.body(b'data: {"words": "Hello"}\n\n', DONE),
        "error",
        sk.errors.UnknownDialect,
        text="",
    ),
    "two-answers": Fault(
        "a second answer in the same body",
        server.body(TEXT, FINISH, TEXT.replace(b"c1", b"c2"), DONE),
        "error",
        sk.errors.ProtocolError,
    ),
    "wrong-length": Fault(
        "fewer bytes than `content-length` says", server.body(TEXT, head=LENGTH), "truncated", sk.errors.Disconnected
    ),
    "cut-chunked": Fault(
        "a chunked body without its end",
        server.body(b"%x\r\n%b\r\n" % (len(TEXT), TEXT), head=CHUNKED),
        "truncated",
        sk.errors.Disconnected,
    ),
    "cut-answered": Fault(
        "a chunked body without its end, behind the finish reason",
        server.body(b"%x\r\n%b\r\n" % (len(TEXT + FINISH), TEXT + FINISH), head=CHUNKED),
        "completed",
    ),
    "bad-chunk": Fault(
        "a chunk whose size is no number",
        server.body(b"%x\r\n%b\r\nzz\r\n" % (len(TEXT), TEXT), head=CHUNKED),
        "truncated",
        sk.errors.Disconnected,
        text=None,
    ),
    "reset": Fault(
        "TCP reset before the first byte", server.then_reset(head=b""), "truncated", sk.errors.Disconnected, text=""
    ),
    "reset-later": Fault(
        "TCP reset in the middle", server.then_reset(TEXT, head=LENGTH), "truncated", sk.errors.Disconnected, text=None
    ),
    "gzip-cut": Fault(
        "a compressed body that is cut short",
        server.body(server.GZIPPED[:-30], head=GZIP),
        "truncated",
        text="Hello" * 50,
    ),
    "gzip": Fault("a compressed body", server.body(server.GZIPPED, head=GZIP), "completed", text="Hello" * 50),
    "not-gzip": Fault(
        "a body that says gzip and is not", server.body(TEXT, head=GZIP), "truncated", sk.errors.Disconnected, text=""
    ),
    "closed": Fault(
        "the connection is closed without an answer",
        server.closed_without_answer,
        "truncated",
        sk.errors.Disconnected,
        text="",
    ),
    "not-http": Fault("the answer is not HTTP", server.not_http, "truncated", sk.errors.Disconnected, text=""),
    "no-answer": Fault(
        "no answer at all", server.no_answer, "timeout", sk.errors.DeadlineExceeded, "first_byte", text=""
    ),
    "stall-head": Fault(
        "silence after the head", server.then_silence(), "timeout", sk.errors.DeadlineExceeded, "idle_bytes", text=""
    ),
    "stall": Fault(
        "silence in the middle", server.then_silence(TEXT), "timeout", sk.errors.DeadlineExceeded, "idle_bytes"
    ),
    "stall-answered": Fault("silence behind the finish reason", server.then_silence(TEXT, FINISH), "completed"),
    "pings-only": Fault(
        "keep-alives, but never an answer",
        server.pinging(),
        "timeout",
        sk.errors.DeadlineExceeded,
        "first_content",
        text="",
    ),
    "pings": Fault(
        "keep-alives, but no more of the answer",
        server.pinging(TEXT),
        "timeout",
        sk.errors.DeadlineExceeded,
        "idle_content",
    ),
    "endless-line": Fault(
        "a line that never ends", server.over_and_over(b"x" * 1024, TEXT, b"data: "), "limit", sk.errors.LimitExceeded
    ),
    "endless-event": Fault(
        "an event that never ends", server.over_and_over(b"data: x\n" * 100, TEXT), "limit", sk.errors.LimitExceeded
    ),
    "endless": Fault(
        "an answer that never ends",
        server.over_and_over(b": still here\n\n", TEXT),
        "timeout",
        sk.errors.DeadlineExceeded,
        "total",
    ),
    "garbage": Fault(
        "bytes that are no events", server.body(b"\xff\xfe\x00garbage\n\n"), "error", sk.errors.ProtocolError, text=""
    ),
    "text": Fault(
        "text that is no event", server.body(b"upstream connect error"), "error", sk.errors.ProtocolError, text=""
    ),
    "not-json": Fault(
        "an event that is no JSON", server.body(TEXT, b"data: {oops\n\n"), "error", sk.errors.ProtocolError
    ),
    "html": Fault(
        "a web page",
        server.body(b"<html>", head=HEAD.replace(b"text/event-stream", b"text/html")),
        "error",
        sk.errors.ContentTypeError,
        text="",
    ),
    "binary": Fault(
        "a binary event stream with a wrong checksum",
        server.body(
            b"\x00\x00\x00\x10" * 4, head=HEAD.replace(b"text/event-stream", b"application/vnd.amazon.eventstream")
        ),
        "error",
        sk.errors.ProtocolError,
        text="",
    ),
    "html-as-events": Fault(
        "a web page that calls itself an event stream",
        server.body(b"<!doctype html><html>\n"),
        "error",
        sk.errors.ProtocolError,
        text="",
    ),
    "json-error": Fault(
        "an error as JSON with status 200",
        server.body(b'{"error": {"message": "no", "code": 429}}', head=server.JSON_HEAD),
        "provider_error",
        sk.ProviderError,
        text="",
    ),
    "error-event": Fault(
        "an error inside the stream",
        server.body(TEXT, b'data: {"error": {"message": "overloaded", "code": 503}}\n\n'),
        "provider_error",
        sk.ProviderError,
    ),
    "status-401": Fault("status 401", server.status(401), "error", sk.StatusError, text=""),
    "status-500": Fault("status 500", server.status(500), "error", sk.StatusError, text=""),
    "redirect-loop": Fault(
        "redirects in a circle",
        server.body(
            head=b"HTTP/1.1 302 Found\r\nlocation: /redirect-loop\r\ncontent-length: 0\r\nconnection: close\r\n"
        ),
        "error",
        sk.errors.RedirectError,
        text="",
    ),
    "redirect-away": Fault(
        "a redirect to another origin",
        server.status(307, b"location: https://elsewhere.invalid/\r\n"),
        "error",
        sk.errors.RedirectError,
        text="",
    ),
    "redirect-nowhere": Fault(
        "a redirect without an address", server.status(302), "error", sk.errors.RedirectError, text=""
    ),
}

WAITS = sk.http.Deadlines(first_byte=SOON, idle_bytes=SOON, first_content=2 * SOON, idle_content=2 * SOON)
# Only where a deadline is the outcome is it short; a slow machine must not look like a silent server.
PATIENT = sk.http.Deadlines(total=60)


@pytest.mark.asyncio
@pytest.mark.parametrize("name", FAULTS)
async def test_a_fault_has_its_typed_outcome_after_everything_that_came_before_it(name: str) -> None:
    fault = FAULTS[name]
    pipeline = sk.sse.Lines(max_line_bytes=50_000) | sk.Parse(max_event_bytes=50_000) | sk.Extract() | sk.Accumulate()
    text: list[str] = []
    error: Exception | None = None
    async with server.serve({name: fault.server}) as (url, open_now):
        deadlines = {None: PATIENT, "total": sk.http.Deadlines(total=SOON)}.get(fault.deadline, WAITS)
        deadlines = WAITS if name == "stall-answered" else deadlines
        stream = sk.http.get(f"{url}/{name}", deadlines=deadlines) | pipeline
        try:
            async with stream as events:
                async for event in events:
                    if isinstance(event, sk.TextDelta):
                        text.append(event.text)
        except sk.StreamkitError as caught:
            error = caught
        while open_now:
            await next(iter(open_now))
    assert (type(error) if error else None) is fault.error
    assert getattr(error, "deadline", None) == fault.deadline
    assert fault.text is None or "".join(text) == fault.text
    assert stream.end is not None
    assert stream.end.reason == fault.reason


def table() -> str:
    rows = [f"| {fault.what} | {fault.outcome} | `{fault.reason}` |" for fault in FAULTS.values()]
    return "\n".join(["| the server | what is raised | `stream.end.reason` |", "|---|---|---|", *rows])


def test_the_table_in_the_docs_is_this_table() -> None:
    head, _, _ = PAGE.read_text(encoding="utf-8").partition("| the server |")
    if os.environ.get("STREAMKIT_WRITE_DOCS"):
        PAGE.write_text(head + table() + "\n", encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == head + table() + "\n"
