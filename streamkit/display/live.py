"""Live display of a response: in a notebook, in a terminal, or as plain text.

    completion = await sk.show(sk.http.post(url, json=body) | sk.Parse() | sk.Extract() | sk.Accumulate())

In a notebook, markdown-it renders Markdown to HTML. HTML in a model's text is escaped, and images are not loaded, because their
URL could exfiltrate data that the model has read. In a terminal, rich renders Markdown. Any other output gets the plain text.

The consumer of the stream only stores what arrives; a separate task draws, so a slow screen does not slow down the stream.
"""

import sys
import time
from collections.abc import Callable
from html import escape
from importlib import import_module
from typing import Any, Protocol, cast

import anyio

from streamkit.core.stream import Stream
from streamkit.core.wrong_input import kind_of
from streamkit.display.answer import ShownAnswer, printable
from streamkit.errors import PipelineError
from streamkit.events import Completion, Event, RefusalDelta, TextDelta
from streamkit.hops.tasks import beside

DRAW_SECONDS = 0.1
"""Minimum time between two redraws."""
SHARE = 10
"""After a slow redraw, as of a long text, the pause is this multiple of its duration."""


async def show(stream: Stream[Event]) -> Completion | None:
    """Show the response while it arrives, and return its `Completion` if the pipeline has `Accumulate`.

    `stream` (`source | pipeline`) is a stream of events; it is read to its end and closed. A line below the text shows tokens,
    rate, cost, seconds and the end reason. The tokens are those of `Count`, if the pipeline has one, until the provider reports
    its own; the cost is that of `Count(…, prices=…)`. Verdicts, tool calls and their results are listed.

    Raises the errors of the stream, after the last redraw. Interrupting the cell cancels the stream; the text shown so far stays.
    """
    if not isinstance(cast(object, stream), Stream):
        raise PipelineError(f"show: expected a stream (source | pipeline), found {kind_of(stream)}")
    answer = ShownAnswer(stream, time.monotonic)
    screen = _screen()
    screen.begin(answer)
    try:
        async with beside(lambda: _keep_drawing(screen, answer)), stream as events:
            async for event in events:
                answer.take(event)
                screen.write(event)
    except Exception as error:
        answer.finish(type(error).__name__)
        raise
    except BaseException:
        answer.finish("cancelled")
        raise
    finally:
        screen.end(answer)
    return answer.completion


class Screen(Protocol):
    """An output that shows a response."""

    def begin(self, answer: ShownAnswer) -> None:
        """Called before anything has arrived."""

    def write(self, event: Event) -> None:
        """Called for each event."""

    def draw(self, answer: ShownAnswer) -> None:
        """Show the current state."""

    def end(self, answer: ShownAnswer) -> None:
        """Show the final state, and restore the screen."""


async def _keep_drawing(screen: Screen, answer: ShownAnswer) -> None:
    while True:
        began = time.monotonic()
        screen.draw(answer)
        await anyio.sleep(max(DRAW_SECONDS, SHARE * (time.monotonic() - began)))


def _screen() -> Screen:
    if (display := _notebook()) is not None:
        return NotebookScreen(display)
    if sys.stdout.isatty():
        return TerminalScreen()
    return PlainScreen(sys.stdout.write)


def _notebook() -> "Callable[..., Any] | None":
    """Return IPython's `display` inside a notebook kernel; otherwise `None`."""
    # IPython is not imported for this check: a kernel has already imported it.
    ipython: Any = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is None or getattr(shell, "kernel", None) is None:
        return None
    display: Callable[..., Any] = import_module("IPython.display").display
    return display


class PlainScreen:
    """Writes the plain text immediately, and the metrics in a line at the end."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write

    def begin(self, answer: ShownAnswer) -> None:
        """Nothing to do."""

    def write(self, event: Event) -> None:
        """Write the text of the event."""
        match event:
            case TextDelta(text=text, index=0) | RefusalDelta(text=text, index=0):
                self._write(text)
                sys.stdout.flush()
            case _:
                pass

    def draw(self, answer: ShownAnswer) -> None:
        """Nothing to do."""

    def end(self, answer: ShownAnswer) -> None:
        """End the last line, and write tool calls, verdicts and metrics."""
        if answer.text and not answer.text.endswith("\n"):
            self._write("\n")
        lines = [*answer.shown_calls(), *answer.shown_verdicts(), answer.metrics()]
        self._write("".join(f"[{line}]\n" for line in lines))


class NotebookScreen:
    """One output of a notebook cell, which is updated in place."""

    def __init__(self, display: Callable[..., Any]) -> None:
        self._display = display
        self._handle: Any = None
        self._drawn: object = None

    def begin(self, answer: ShownAnswer) -> None:
        """Create the output."""
        self._handle = self._display(NotebookPage(answer), display_id=True)

    def write(self, event: Event) -> None:
        """Nothing to do."""

    def draw(self, answer: ShownAnswer) -> None:
        """Replace the output if the state has changed."""
        state = (answer.metrics(), len(answer.text), len(answer.reasoning))
        if state != self._drawn:
            self._drawn = state
            self._handle.update(NotebookPage(answer))

    def end(self, answer: ShownAnswer) -> None:
        """Replace the output a last time."""
        self._handle.update(NotebookPage(answer))


class NotebookPage:
    """A response as HTML and as text, for a notebook."""

    def __init__(self, answer: ShownAnswer) -> None:
        self._html = as_html(answer)
        self._text = "\n".join(
            [
                answer.text,
                *(f"[{line}]" for line in [*answer.shown_calls(), *answer.shown_verdicts(), answer.metrics()]),
            ]
        )

    def __repr__(self) -> str:
        return self._text

    def _repr_html_(self) -> str:
        return self._html


def as_html(answer: ShownAnswer) -> str:
    """Return the response as HTML that loads no resource and treats no text of the model as HTML."""
    parts: list[str] = []
    if answer.reasoning:
        shown = f"<div style='white-space: pre-wrap; opacity: .7'>{escape(answer.reasoning)}</div>"
        parts.append(f"<details><summary>reasoning, {len(answer.reasoning)} characters</summary>{shown}</details>")
    parts.append(markdown_to_html(answer.text))
    parts += [f"<div><code>{escape(line)}</code></div>" for line in answer.shown_calls()]
    parts += [f"<div>⚑ {escape(line)}</div>" for line in answer.shown_verdicts()]
    parts.append(f"<div style='opacity: .6; font-size: smaller'>{escape(answer.metrics())}</div>")
    return "\n".join(parts)


def markdown_to_html(text: str) -> str:
    """Render Markdown to HTML: HTML in it is escaped, images are not rendered, and only harmless links become links."""
    return str(_parser().render(text))


def _parser() -> Any:
    # The preset `js-default` escapes HTML and rejects `javascript:` links. (https://markdown-it-py.readthedocs.io, security)
    from markdown_it import MarkdownIt

    return MarkdownIt("js-default").disable("image")


class TerminalScreen:
    """Markdown rendered by rich and redrawn while it grows; if it is longer than the screen, the last rows are shown."""

    def __init__(self, console: Any = None) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console: Console = console or Console()
        self._live = Live(
            console=self._console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
        )

    def begin(self, answer: ShownAnswer) -> None:
        """Hide the cursor."""
        self._live.start()

    def write(self, event: Event) -> None:
        """Nothing to do."""

    def draw(self, answer: ShownAnswer) -> None:
        """Draw the last rows."""
        from rich.segment import Segment, Segments

        rows = self._console.render_lines(self._whole(answer), pad=False)[-max(1, self._console.height - 1) :]
        self._live.update(Segments([segment for row in rows for segment in (*row, Segment.line())][:-1]), refresh=True)

    def end(self, answer: ShownAnswer) -> None:
        """Replace the live rows by the whole response, and show the cursor."""
        self._live.update("")
        self._live.stop()
        self._console.print(self._whole(answer))

    def _whole(self, answer: ShownAnswer) -> Any:
        from rich.console import Group
        from rich.markdown import Markdown
        from rich.text import Text

        parts: list[Any] = []
        if answer.reasoning:
            parts += [Text(printable(answer.reasoning), "dim italic"), Text()]
        text = printable(answer.text)
        markdown = Markdown(text, hyperlinks=False)
        # rich's own parser drops HTML, so `List<int>` would lose its parameter.
        markdown.parsed = _parser().parse(text)
        parts.append(markdown)
        parts += [Text(printable(line), "cyan") for line in answer.shown_calls()]
        parts += [Text(printable(line), "yellow") for line in answer.shown_verdicts()]
        parts.append(Text(answer.metrics(), "dim"))
        return Group(*parts)
