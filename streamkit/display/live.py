"""An answer shown while it arrives: in a notebook, in a terminal, or as plain text.

    completion = await sk.show(sk.http.post(url, json=body) | sk.Parse() | sk.Extract() | sk.Accumulate())

A notebook gets HTML that markdown-it makes of the Markdown: HTML in a model's text is only text, and images are not loaded,
since their address could carry away what the model has read. A terminal gets Markdown by rich, anything else the text as it is.

Whoever reads the stream only stores what arrives; a task beside it draws, so that no screen slows the stream.
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
"""The shortest time between two drawings."""
SHARE = 10
"""A drawing that takes long, as one of a long text does, is followed by a pause of so many times its length."""


async def show(stream: Stream[Event]) -> Completion | None:
    """Show the answer while it arrives, and return it, if the pipeline has `Accumulate`.

    `stream` is `source | pipeline`, a stream of events; it is read to its end and closed. Below the text is a line with tokens,
    rate, cost, seconds and the reason for the end: the tokens are those of `Count`, if the pipeline has one, until the provider
    reports its own; the cost is that of `Count(…, prices=…)`. Verdicts, calls of tools and their results are listed.

    Raises what the stream raises, after the last drawing. An interrupted cell cancels the stream, and leaves what has arrived.
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
    """Where an answer is shown."""

    def begin(self, answer: ShownAnswer) -> None:
        """Before anything has arrived."""

    def write(self, event: Event) -> None:
        """An event has arrived."""

    def draw(self, answer: ShownAnswer) -> None:
        """Show the state."""

    def end(self, answer: ShownAnswer) -> None:
        """Show the last state, and leave the screen as it was."""


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
    """IPython's `display`, if this is the kernel of a notebook."""
    # Nothing is imported to find out: in a kernel it is there already.
    ipython: Any = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is None or getattr(shell, "kernel", None) is None:
        return None
    display: Callable[..., Any] = import_module("IPython.display").display
    return display


class PlainScreen:
    """The text as it is, at once, and the figures in a line at the end."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write

    def begin(self, answer: ShownAnswer) -> None:
        """Nothing to do."""

    def write(self, event: Event) -> None:
        """Write its text."""
        match event:
            case TextDelta(text=text, index=0) | RefusalDelta(text=text, index=0):
                self._write(text)
                sys.stdout.flush()
            case _:
                pass

    def draw(self, answer: ShownAnswer) -> None:
        """Nothing to do."""

    def end(self, answer: ShownAnswer) -> None:
        """End the last line, and write verdicts, calls and figures."""
        if answer.text and not answer.text.endswith("\n"):
            self._write("\n")
        lines = [*answer.shown_calls(), *answer.shown_verdicts(), answer.figures()]
        self._write("".join(f"[{line}]\n" for line in lines))


class NotebookScreen:
    """One output of a cell, which is replaced."""

    def __init__(self, display: Callable[..., Any]) -> None:
        self._display = display
        self._handle: Any = None
        self._drawn: object = None

    def begin(self, answer: ShownAnswer) -> None:
        """Make the output."""
        self._handle = self._display(NotebookPage(answer), display_id=True)

    def write(self, event: Event) -> None:
        """Nothing to do."""

    def draw(self, answer: ShownAnswer) -> None:
        """Replace the output, if there is something new."""
        state = (answer.figures(), len(answer.text), len(answer.reasoning))
        if state != self._drawn:
            self._drawn = state
            self._handle.update(NotebookPage(answer))

    def end(self, answer: ShownAnswer) -> None:
        """Replace the output a last time."""
        self._handle.update(NotebookPage(answer))


class NotebookPage:
    """An answer as HTML and as text, for a notebook."""

    def __init__(self, answer: ShownAnswer) -> None:
        self._html = as_html(answer)
        self._text = "\n".join(
            [
                answer.text,
                *(f"[{line}]" for line in [*answer.shown_calls(), *answer.shown_verdicts(), answer.figures()]),
            ]
        )

    def __repr__(self) -> str:
        return self._text

    def _repr_html_(self) -> str:
        return self._html


def as_html(answer: ShownAnswer) -> str:
    """The answer as HTML that loads nothing and in which no text of a model is markup."""
    parts: list[str] = []
    if answer.reasoning:
        shown = f"<div style='white-space: pre-wrap; opacity: .7'>{escape(answer.reasoning)}</div>"
        parts.append(f"<details><summary>reasoning, {len(answer.reasoning)} characters</summary>{shown}</details>")
    parts.append(markdown_to_html(answer.text))
    parts += [f"<div><code>{escape(line)}</code></div>" for line in answer.shown_calls()]
    parts += [f"<div>⚑ {escape(line)}</div>" for line in answer.shown_verdicts()]
    parts.append(f"<div style='opacity: .6; font-size: smaller'>{escape(answer.figures())}</div>")
    return "\n".join(parts)


def markdown_to_html(text: str) -> str:
    """Markdown as HTML: HTML in it is escaped, images become their description, and only harmless links are links."""
    return str(_parser().render(text))


def _parser() -> Any:
    # As markdown-it's own default: HTML is text, and `javascript:` is no link. (https://markdown-it-py.readthedocs.io, security)
    from markdown_it import MarkdownIt

    return MarkdownIt("js-default").disable("image")


class TerminalScreen:
    """Markdown by rich, drawn again while it grows; of what is longer than the screen, the last rows."""

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
        """Replace what was drawn by the whole answer, and show the cursor."""
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
        # rich's own parser knows HTML, and leaves it out: `List<int>` would lose its parameter.
        markdown.parsed = _parser().parse(text)
        parts.append(markdown)
        parts += [Text(printable(line), "cyan") for line in answer.shown_calls()]
        parts += [Text(printable(line), "yellow") for line in answer.shown_verdicts()]
        parts.append(Text(answer.figures(), "dim"))
        return Group(*parts)
