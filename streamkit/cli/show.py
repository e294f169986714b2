"""The output of the demo: drawn in a terminal, plain text otherwise."""

import asyncio
import sys
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import accumulate

from rich.console import Console, RenderableType
from rich.highlighter import ReprHighlighter
from rich.json import JSON
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from streamkit.events import Json, Redacted, Usage

INDENT = "  "
WIDEST = 100


class _Console(Console):
    def on_broken_pipe(self) -> None:
        # rich would exit with 1; `exits.run` maps BrokenPipeError to the same code for all commands.
        raise BrokenPipeError


def make_console(widest: int | None = WIDEST) -> Console:
    """Return a console for standard output, at most `widest` columns. Unencodable characters become question marks."""
    # A replacement of standard output, as in a notebook, may not have the method.
    reconfigure: Callable[..., None] | None = getattr(sys.stdout, "reconfigure", None)
    if reconfigure:
        reconfigure(errors="replace")
    console = _Console(highlight=False)
    if widest is not None:
        console.width = min(console.width, widest)
    return console


def heading(console: Console, title: str) -> None:
    console.print()
    console.rule(Text(title, "bold"), align="left", style="cyan")


def put(console: Console, item: RenderableType, style: str = "") -> None:
    """Print, indented, with an empty line before it."""
    console.print()
    if console.is_terminal:
        console.print(_indented(item), style=style)
        return
    # rich pads lines with spaces, which are unwanted in a file.
    with console.capture() as printed:
        console.print(_indented(item))
    console.out("\n".join(line.rstrip() for line in printed.get().splitlines()), highlight=False)


def code(console: Console, lines: str) -> None:
    """Print the lines unchanged, so that they can be copied."""
    console.print()
    for line in lines.splitlines():
        console.out(INDENT + line, style="green", highlight=False)


@asynccontextmanager
async def drawn(console: Console, draw: Callable[[], RenderableType]) -> AsyncGenerator[None]:
    """Redraw periodically while the block runs; without a terminal, draw once when it is done."""
    if not console.is_interactive:
        yield
        put(console, draw())
        return
    console.print()
    # Not Live's own refresh thread, which may still run after Live has ended.
    with Live(get_renderable=lambda: _indented(draw()), console=console, auto_refresh=False) as live:
        task = asyncio.create_task(_keep_drawing(live))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])


async def _keep_drawing(live: Live) -> None:
    while True:
        live.refresh()
        await asyncio.sleep(0.05)


def _indented(item: RenderableType) -> RenderableType:
    return Padding(item, (0, len(INDENT)))


class Writer:
    """Writes the pieces of a response as they arrive; near the right edge, the line is broken after a comma."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._column = 0
        console.print()

    def write(self, piece: str, style: str = "") -> None:
        text = piece if self._column else INDENT + piece.lstrip()
        if text.isspace():
            return
        self._column += len(text)
        full = self._column > self._console.width - 8 and text.rstrip().endswith(",")
        self._console.out(text.rstrip() if full else text, end="", style=style, highlight=False)
        if full:
            self.end()

    def end(self) -> None:
        if self._column:
            self._console.print()
        self._column = 0


def redaction(deltas: Sequence[str], released: Sequence[str], verdicts: Sequence[Redacted]) -> RenderableType:
    """Return the deltas with a mark at each boundary, and below them the released text."""
    came = Text("|".join(deltas))
    for verdict in verdicts:
        came.stylize("bold red", _marked(deltas, verdict.start), _marked(deltas, verdict.end - 1) + 1)
    came.highlight_words(["|"], "not bold cyan")
    left = Text("".join(released))
    left.highlight_words(["[redacted]"], "bold green")
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column()
    grid.add_row("received", came)
    grid.add_row()
    grid.add_row("released", left)
    for verdict in verdicts:
        grid.add_row()
        grid.add_row("event", ReprHighlighter()(_shown(verdict)))
    return grid


def _shown(verdict: Redacted) -> str:
    return f"Redacted(category={verdict.category!r}, start={verdict.start}, end={verdict.end})"


def _marked(deltas: Sequence[str], at: int) -> int:
    """Convert an offset in the text to an offset in the text with a mark at each boundary."""
    return at + sum(end <= at for end in accumulate(map(len, deltas)))


def as_json(response: Json) -> RenderableType:
    """Return a response as JSON, without the middle of long texts and the details of the usage."""
    return JSON.from_data(_shortened(response))


def _shortened(value: Json) -> Json:
    match value:
        case str() if len(value) > 48:
            return f"{value[:16].rstrip()} ... {value[-13:].lstrip()}"
        case list():
            return [_shortened(item) for item in value]
        case dict():
            return {name: _shortened(item) for name, item in value.items() if not name.endswith("_details")}
        case _:
            return value


def tokens(usages: Mapping[str, Usage]) -> RenderableType:
    """Return a table with a column for each usage."""
    table = _table("", *usages)
    for name in ("prompt", "completion", "total"):
        table.add_row(name, *(str(getattr(usage, f"{name}_tokens")) for usage in usages.values()))
    table.columns[1].style = "bold green"
    for column in table.columns[1:]:
        column.justify = "right"
    return table


@dataclass
class ShownText:
    """One of the compared requests: the seconds to its first text and to its end, once known."""

    api: str
    streams: bool
    first: float | None = None
    total: float | None = None


def race(console: Console, lanes: Iterable[ShownText], now: float, scale: float) -> RenderableType:
    """Return the progress of each request at `now`; a full bar is `scale` seconds."""
    still, moving = _cells(console)
    table = _table("", "", f"{still} nothing yet  {moving} text arrives", "first text", "    all")
    width = max(8, console.width - _BESIDE_BARS)
    for lane in lanes:
        style = "green" if lane.streams else "yellow"
        bar = _bar(lane, now, width / scale)
        cells = Text.assemble((still * bar.start, "dim"), (moving * len(bar), style))
        how = Text("streaming" if lane.streams else "waiting", style)
        table.add_row(lane.api if lane.streams else "", how, cells, seconds(lane.first), seconds(lane.total))
    table.columns[2].width = width
    for column in table.columns[3:]:
        column.justify = "right"
    return table


_BESIDE_BARS = 48


def seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f} s"


def _bar(lane: ShownText, now: float, cells_a_second: float) -> range:
    """Return the cells in which text arrived; the cells before them are the wait."""
    first = round((now if lane.first is None else lane.first) * cells_a_second)
    end = round((now if lane.total is None else lane.total) * cells_a_second)
    # A response that arrived in one piece gets one cell.
    return range(min(first, end - 1), end) if lane.first is not None else range(first, first)


def _cells(console: Console) -> tuple[str, str]:
    return (".", "#") if console.options.ascii_only else ("·", "█")


def _table(*titles: str) -> Table:
    table = Table(box=None, padding=(0, 3, 0, 0), pad_edge=False, header_style="dim")
    for title in titles:
        table.add_column(title, no_wrap=True)
    return table
