"""A response in the terminal: the text as it arrives, and below it a line with tokens, rate and cost.

The consumer of the stream only stores the text; a task draws ten times per second, so that the terminal does not slow down the
stream. Without a terminal, the text is written unchanged and immediately, without the line.
"""

import asyncio
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from rich.cells import chop_cells
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from streamkit.display.answer import printable
from streamkit.tokens import BilledTokens, PriceTable

DRAW_SECONDS = 0.1


def cost_line(prices: PriceTable, prompt: int | None, completion: int | None, *models: str | None) -> str:
    """Return the cost as text, with `>=` if not all tokens are known; `unknown` if none of the models has a price."""
    cost = prices.cost(BilledTokens(prompt or 0, completion or 0), *models)
    return "unknown" if cost is None else f"{'>= ' if None in (prompt, completion) else ''}{cost:.6f}"


def line(
    *, tokens: int | None, deltas: int, rate: float | None, cost: str | None, seconds: float, end: str | None = None
) -> str:
    """Return the line. If the number of tokens is unknown, it shows the number of deltas."""
    parts = [f"{deltas} deltas" if tokens is None else f"{tokens} tokens"]
    if rate is not None:
        parts.append(f"{rate:.1f} tokens/s")
    if cost is not None:
        parts.append(f"cost {cost}")
    return "  ".join([*parts, f"{seconds:.1f} s", *([end] if end else [])])


class Plain:
    """Writes to standard output without drawing; the line, if any, is drawn separately."""

    def __init__(self) -> None:
        self._last = "\n"

    def write(self, text: str) -> None:
        """Write and flush the text."""
        self._last = (self._last + text)[-1]
        sys.stdout.write(text)
        sys.stdout.flush()

    def end(self) -> None:
        """End the last row, unless it is already ended."""
        if self._last != "\n":
            self.write("\n")

    def take(self, width: int) -> tuple[list[str], str]:
        """Return nothing to draw."""
        return [], ""


class Drawn:
    """Buffers text that is drawn above the line in a terminal."""

    def __init__(self) -> None:
        self._news: list[str] = []
        self._row = ""

    def write(self, text: str) -> None:
        """Buffer the text for the next redraw."""
        self._news.append(text)

    def end(self) -> None:
        """Nothing to do: the line below ends the last row."""

    def take(self, width: int) -> tuple[list[str], str]:
        """Return the rows completed since the last call, and the incomplete row."""
        text = printable(self._row + "".join(self._news)).expandtabs(8)
        self._news.clear()
        *ended, rest = text.split("\n")
        *full, self._row = chop_cells(rest, width) or [""]
        return [row for line in ended for row in chop_cells(line, width) or [""]] + full, self._row


@asynccontextmanager
async def shown(out: Console, err: Console, status: Callable[[], str]) -> AsyncGenerator[Plain | Drawn, None]:
    """Yield the object to write the text to, with the line below the text if standard error is a terminal.

    At every exit of the block, the terminal is restored, and the last state of the line stays visible.
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
            # In one write, to avoid flicker.
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
