"""Record a command's terminal output as an animated SVG: run for real, in a pseudo-terminal, at its own pace.

    python -m tests.docs.site.terminal docs/assets/demo.svg streamkit demo

The picture has no script, so that it moves where images do, plays again and again, and stands still, complete, for readers who
prefer that. A piece of a line is one element, visible from the moment when it was written; a line that is written anew is
replaced. The window shows the last lines, as a terminal does.
"""

import fcntl
import html
import os
import pty
import struct
import sys
import termios
import time
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import pyte

COLUMNS, ROWS, WINDOW = 80, 400, 30
TICK = 0.1
"""Seconds between two pictures."""
REST = 4.0
"""Seconds for which the end is shown."""
GLYPH, LINE, MARGIN, BAR = 8.4, 19, 16, 34
COLOURS = {
    "black": "#6b7280",
    "red": "#f87171",
    "green": "#4ade80",
    "brown": "#fbbf24",
    "blue": "#60a5fa",
    "magenta": "#c084fc",
    "cyan": "#22d3ee",
    "white": "#f3f4f6",
}


class Style(NamedTuple):
    """How characters look."""

    colour: str = "default"
    bold: bool = False
    italics: bool = False
    underscore: bool = False


class Piece(NamedTuple):
    """Characters of one look, from `column` of `row` on, to be seen from `start` until `end` (`None`: for ever)."""

    row: int
    column: int
    text: str
    style: Style
    start: int
    end: int | None


Cells = tuple[tuple[str, Style], ...]


def record(command: Sequence[str]) -> Iterator[tuple[float, bytes]]:
    """Run it in a pseudo-terminal of 80 columns, and yield what it writes, with the seconds since its first byte."""
    child, terminal = pty.fork()
    if child == 0:
        os.environ.update(TERM="xterm-256color", COLUMNS=str(COLUMNS), LINES=str(ROWS), COLORTERM="")
        os.execvp(command[0], list(command))
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    began: float | None = None
    while True:
        try:
            data = os.read(terminal, 65536)
        except OSError:  # Linux reports the end of a pseudo-terminal so.
            data = b""
        if not data:
            break
        began = time.monotonic() if began is None else began
        yield time.monotonic() - began, data
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        raise SystemExit(f"{' '.join(command)} failed")


def screens(output: Iterator[tuple[float, bytes]]) -> dict[int, list[Cells]]:
    """The lines that are on the screen at each tick at which they changed."""
    # Only the environment of `make docs` has it; what is drawn of it is tested without.
    import pyte

    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    found: dict[int, list[Cells]] = {}
    for seconds, data in output:
        stream.feed(data)
        used = max(
            (row for row, cells in screen.buffer.items() if any(c.data.strip() for c in cells.values())), default=0
        )
        found[int(seconds / TICK)] = [_cells(screen, row) for row in range(used + 1)]
    return found


def _cells(screen: "pyte.Screen", row: int) -> Cells:
    line = screen.buffer[row]
    cells = [
        (line[at].data, Style(line[at].fg, line[at].bold, line[at].italics, line[at].underscore))
        for at in range(COLUMNS)
    ]
    while cells and cells[-1][0] == " ":
        cells.pop()
    return tuple(cells)


def pieces(shown: dict[int, list[Cells]]) -> list[Piece]:
    """The visible lines over time: a line that grew gets a piece more, one that changed otherwise is replaced."""
    rows = max(len(lines) for lines in shown.values())
    found: list[Piece] = []
    for row in range(rows):
        before: Cells = ()
        open_pieces: list[Piece] = []
        for tick, lines in shown.items():
            now = lines[row] if row < len(lines) else ()
            if now == before:
                continue
            kept = len(before) if now[: len(before)] == before else 0
            if not kept:
                found += [piece._replace(end=tick) for piece in open_pieces]
                open_pieces = []
            open_pieces += _runs(now, row, kept, tick)
            before = now
        found += open_pieces
    return found


def _runs(cells: Cells, row: int, start: int, tick: int) -> Iterator[Piece]:
    column = start
    for style, run in groupby(cells[start:], key=lambda cell: cell[1]):
        text = "".join(character for character, _ in run)
        if text.strip():
            lead = len(text) - len(text.lstrip())
            yield Piece(row, column + lead, text.strip(), style, tick, None)
        column += len(text)


def draw(title: str, shown: dict[int, list[Cells]]) -> str:
    """The whole document."""
    last = max(shown)
    ticks = last + int(REST / TICK)
    width, height = round(COLUMNS * GLYPH + 2 * MARGIN), WINDOW * LINE + 2 * MARGIN + BAR
    found = pieces(shown)
    moments = {(piece.start, piece.end) for piece in found} - {(0, None)}
    used = sorted(moments, key=lambda when: (when[0], when[1] or ticks))
    names = {when: f"t{number}" for number, when in enumerate(used)}
    scroll = _scroll(shown)
    rules = [_visible(names[when], *when, ticks) for when in used]
    length = f"{ticks * TICK:g}s"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">',
        f"<title>{html.escape(title)}</title>",
        "<style>",
        f"text{{font:14px ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace;fill:#d1d5db;white-space:pre}}"
        f"[class]{{animation:{length} step-end infinite}}",
        *rules,
        f"@keyframes s{{{''.join(_moved(tick, rows, ticks) for tick, rows in scroll)}}}",
        f"#s{{animation:s {length} step-end infinite;transform:translateY({-scroll[-1][1] * LINE}px)}}",
        "@media(prefers-reduced-motion:reduce){[class],#s{animation:none}}",
        "</style>",
        f'<rect width="{width}" height="{height}" rx="10" fill="#111827"/>',
        *(
            f'<circle cx="{20 + 20 * at}" cy="18" r="6" fill="{colour}"/>'
            for at, colour in enumerate(("#f87171", "#fbbf24", "#4ade80"))
        ),
        f'<text x="{width // 2}" y="23" text-anchor="middle" style="fill:#9ca3af">{html.escape(title)}</text>',
        f'<clipPath id="c"><rect y="{BAR}" width="{width}" height="{height - BAR}"/></clipPath>',
        '<g clip-path="url(#c)"><g id="s">',
        *(_text(piece, names.get((piece.start, piece.end))) for piece in found),
        "</g></g></svg>",
    ]
    return "\n".join(lines) + "\n"


def _percent(tick: int, ticks: int) -> str:
    return f"{100 * tick / ticks:.2f}".rstrip("0").rstrip(".") + "%"


def _moved(tick: int, rows: int, ticks: int) -> str:
    return f"{_percent(tick, ticks)}{{transform:translateY({-rows * LINE}px)}}"


def _visible(name: str, start: int, end: int | None, ticks: int) -> str:
    steps = f"0%{{opacity:0}}{_percent(start, ticks)}{{opacity:1}}" if start else "0%{opacity:1}"
    # Without animation a piece that was replaced is not there.
    gone = f"{_percent(end, ticks)}{{opacity:0}}" if end is not None else ""
    still = "opacity:0;" if end is not None else ""
    return f"@keyframes {name}{{{steps}{gone}}}.{name}{{{still}animation-name:{name}}}"


def _scroll(shown: dict[int, list[Cells]]) -> list[tuple[int, int]]:
    """By how many rows the lines are moved up, from which tick on, so that the last ones are in the window."""
    found = [(0, 0)]
    for tick, lines in shown.items():
        rows = max(0, len(lines) - WINDOW)
        if rows != found[-1][1]:
            found.append((tick, rows))
    return found


def _text(piece: Piece, name: str | None) -> str:
    x, y = MARGIN + piece.column * GLYPH, BAR + MARGIN + (piece.row + 0.75) * LINE
    style = piece.style
    looks = [
        f"fill:{COLOURS.get(style.colour, '#' + style.colour)}" if style.colour != "default" else "",
        "font-weight:bold" if style.bold else "",
        "font-style:italic" if style.italics else "",
        "text-decoration:underline" if style.underscore else "",
    ]
    look = ";".join(filter(None, looks))
    attributes = (f' class="{name}"' if name else "") + (f' style="{look}"' if look else "")
    # The typeface of the reader may be wider or narrower; columns stay where they are.
    size = f' textLength="{len(piece.text) * GLYPH:g}"' if len(piece.text) > 1 else ""
    return f'<text x="{x:g}" y="{y:g}"{size}{attributes}>{html.escape(piece.text, quote=False)}</text>'


def main() -> None:
    """Write the picture of a command."""
    target, *command = sys.argv[1:]
    shown = screens(record(command))
    Path(target).write_text(draw(" ".join([Path(command[0]).name, *command[1:]]), shown), encoding="utf-8")
    print(f"{target}: {max(shown) * TICK:.1f} s, {Path(target).stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
