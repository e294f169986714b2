"""An answer in the terminal: the text as it comes, and below it a line with tokens, rate and cost.

Whoever reads the stream only leaves the text here; a task draws ten times a second, so that no terminal slows the stream.
Without a terminal the text is written as it is, at once, and there is no line.
"""

import asyncio
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal

from rich.cells import chop_cells
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from streamkit.display.answer import printable

DRAW_SECONDS = 0.1


@dataclass(frozen=True)
class LivePrice:
    """Price of a million tokens, in any currency: of the prompt, and of the answer."""

    prompt: Decimal
    completion: Decimal

    def of(self, prompt: int | None, completion: int | None) -> str:
        """The cost; at least that much where not all tokens are known."""
        cost = ((prompt or 0) * self.prompt + (completion or 0) * self.completion) / 1_000_000
        return f"{'>= ' if None in (prompt, completion) else ''}{cost:.6f}"


def line(
    *, tokens: int | None, deltas: int, rate: float | None, cost: str | None, seconds: float, end: str | None = None
) -> str:
    """The line itself. Where the tokens are not known it has the deltas, which are not the same."""
    parts = [f"{deltas} deltas" if tokens is None else f"{tokens} tokens"]
    if rate is not None:
        parts.append(f"{rate:.1f} tokens/s")
    if cost is not None:
        parts.append(f"cost {cost}")
    return "  ".join([*parts, f"{seconds:.1f} s", *([end] if end else [])])


class Plain:
    """Standard output as it is; the line stands alone."""

    def __init__(self) -> None:
        self._last = "\n"

    def write(self, text: str) -> None:
        """Write, and let it be seen at once."""
        self._last = (self._last + text)[-1]
        sys.stdout.write(text)
        sys.stdout.flush()

    def end(self) -> None:
        """End the last row, if it isn't ended."""
        if self._last != "\n":
            self.write("\n")

    def take(self, width: int) -> tuple[list[str], str]:
        """Nothing remains to be drawn."""
        return [], ""


class Drawn:
    """Text for a terminal, which is drawn above the line."""

    def __init__(self) -> None:
        self._news: list[str] = []
        self._row = ""

    def write(self, text: str) -> None:
        """Leave the text for the next drawing."""
        self._news.append(text)

    def end(self) -> None:
        """Nothing to do: the line below ends the last row."""

    def take(self, width: int) -> tuple[list[str], str]:
        """The rows that are full or ended since the last time, and the one that is not."""
        text = printable(self._row + "".join(self._news)).expandtabs(8)
        self._news.clear()
        *ended, rest = text.split("\n")
        *full, self._row = chop_cells(rest, width) or [""]
        return [row for line in ended for row in chop_cells(line, width) or [""]] + full, self._row


@asynccontextmanager
async def shown(out: Console, err: Console, status: Callable[[], str]) -> AsyncGenerator[Plain | Drawn, None]:
    """Where to write the text, with the line below it where standard error is a terminal.

    However the block is left, the terminal is as it was and the line's last state stays.
    """
    text = Drawn() if out.is_terminal and err.is_interactive else Plain()
    if not err.is_interactive:
        try:
            yield text
        finally:
            text.end()
        return
    console = err if isinstance(text, Plain) else out
    with Live(console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as live:

        def draw() -> None:
            rows, row = text.take(console.width)
            below = Text(status(), "dim", no_wrap=True, overflow="ellipsis")
            live.update(Group(Text(row), below) if row else below)
            # In one write, so that nothing flickers.
            with console:
                if rows:
                    console.print(Text("\n".join(rows)))
                live.refresh()

        task = asyncio.create_task(_keep(draw))
        try:
            yield text
        finally:
            task.cancel()
            await asyncio.wait([task])
            text.end()
            draw()


async def _keep(draw: Callable[[], None]) -> None:
    while True:
        draw()
        await asyncio.sleep(DRAW_SECONDS)
