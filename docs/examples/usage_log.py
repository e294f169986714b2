"""A gateway with moderation, a usage log in SQLite, and the provider's own errors, in fewer than 40 lines of code.

    streamkit serve-demo --port 8080
    python docs/examples/usage_log.py http://127.0.0.1:8080/v1 usage.db

    client = openai.OpenAI(base_url="http://127.0.0.1:8008/v1", api_key="any")

Each request is one row, also if its client has disconnected.
"""

import sqlite3
import sys
from contextlib import closing
from typing import Any

import uvicorn
from anyio import to_thread
from fastapi import FastAPI, Request

import streamkit as sk
from streamkit.sinks.starlette import EventStreamResponse

RULE = sk.Rule("secret", phrases=("blue heron 42",), action="redact")
COLUMNS = "at TEXT DEFAULT CURRENT_TIMESTAMP, end TEXT, model TEXT, prompt INTEGER, completion INTEGER, source TEXT"


def application(base_url: str, path: str) -> FastAPI:
    """`base_url` is the provider's, with its `/v1`; the client's key is passed on. `path` is the database."""
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(f"CREATE TABLE IF NOT EXISTS requests ({COLUMNS})")
    api = FastAPI()

    def insert(end: sk.StreamEnd | None, used: sk.UsageReport) -> None:
        row = (end.reason if end else "not opened", used.model, used.prompt_tokens, used.completion_tokens, used.source)
        with closing(sqlite3.connect(path)) as db, db:
            db.execute("INSERT INTO requests (end, model, prompt, completion, source) VALUES (?, ?, ?, ?, ?)", row)

    @api.post("/v1/chat/completions")
    async def chat(asked: dict[str, Any], request: Request) -> EventStreamResponse:
        sent = asked | {"stream_options": {"include_usage": True}} if asked.get("stream") else asked
        headers = {"authorization": request.headers.get("authorization", "")}
        source = sk.http.post(f"{base_url}/chat/completions", json=sent, headers=headers)
        stream = source | sk.Parse() | sk.Extract() | sk.Moderate(RULE) | sk.Count(str(asked.get("model")))

        async def log() -> None:
            await to_thread.run_sync(insert, stream.end, stream.stage(sk.Count).report)

        return EventStreamResponse(stream, body=asked, error_details=True, on_end=log)

    return api


if __name__ == "__main__":
    base_url, database = sys.argv[1:] if len(sys.argv) == 3 else sys.exit(__doc__)
    uvicorn.run(application(base_url, database), port=8008)
