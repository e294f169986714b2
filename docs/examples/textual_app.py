"""A chat as a Textual app: the answer grows as Markdown, with its tokens and time below. Ctrl-Q ends it.

    pip install textual
    streamkit serve-demo --port 8080
    python docs/examples/textual_app.py http://127.0.0.1:8080/v1

A new question cancels the previous answer: its worker is cancelled, which closes the connection. The key is taken from
OPENAI_API_KEY; the second argument is another model.
"""

import os
import sys
import time

from textual.app import App, ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Input, Markdown, Static
from textual.worker import Worker

import streamkit as sk

PIPELINE = sk.Parse() | sk.Extract() | sk.Accumulate() | sk.Count("gpt-4o")


class Chat(App[None]):
    AUTO_FOCUS = "Input"
    CSS = "VerticalScroll { height: 1fr; } Static { height: 1; color: $text-muted; }"

    def __init__(self, base_url: str, model: str = "gpt-4o-mini") -> None:
        super().__init__()
        self._url, self._model = base_url, model
        self._messages: list[dict[str, str]] = []
        self._worker: Worker[None] | None = None

    def compose(self) -> ComposeResult:
        with VerticalScroll():
            yield Markdown()
        yield Static("Ask something.")
        yield Input(placeholder="Count to 10")

    def on_input_submitted(self, message: Input.Submitted) -> None:
        message.input.clear()
        if self._worker is not None:
            self._worker.cancel()
        self._worker = self.run_worker(self._answer(message.value), exit_on_error=False)

    async def _answer(self, question: str) -> None:
        self._messages.append({"role": "user", "content": question})
        body = {"model": self._model, "stream": True, "messages": self._messages}
        headers = {"authorization": f"Bearer {os.environ.get('OPENAI_API_KEY', '')}"}
        stream = sk.http.post(f"{self._url}/chat/completions", json=body, headers=headers) | PIPELINE
        began = time.monotonic()
        end = "cancelled"
        shown = self.query_one(Markdown)
        # Appends new text, and draws when Textual has time, so the screen does not slow a fast answer.
        writer = Markdown.get_stream(shown)
        await shown.update("")
        try:
            async with stream as events:
                async for event in events:
                    if isinstance(event, sk.TextDelta | sk.RefusalDelta):
                        await writer.write(event.text)
            end = stream.end.reason if stream.end else "truncated"
        except sk.StreamkitError as error:
            end = str(error)
        finally:
            await writer.stop()
            tokens = stream.stage(sk.Count).tokens()
            self.query_one(Static).update(f"{tokens} tokens, {time.monotonic() - began:.1f} s, {end}", layout=False)
            # The text received so far is kept in the conversation, also of a cancelled answer.
            self._messages.append({"role": "assistant", "content": stream.stage(sk.Accumulate).snapshot.text})


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    Chat(*sys.argv[1:3]).run()
