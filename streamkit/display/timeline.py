"""Timelines of responses: one row per response, from the request to the end, as text, SVG 1.1 or an HTML page.

A row shows the time to first token, every delta, the stalls (inter-token latency above a limit), and the end. It does not
contain the text of the response.
"""

import html
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from streamkit.display.chart import escaped, scale
from streamkit.events import Timings
from streamkit.latency import Stall, stalls

WIDTH, LEFT, RIGHT, TOP, ROW = 960, 220, 110, 54, 34
_LEVELS = "▁▂▃▄▅▆▇█"
_ASCII_LEVELS = ".:-=+*#@"
# Distinguishable with red-green color blindness. (Okabe and Ito, https://jfly.uni-koeln.de/color/)
_WAIT, _DELTA, _STALL, _END = "#cccccc", "#0072b2", "#d55e00", "#222222"
_PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem; }}
body {{ color: #222; background: #fff; }}
figure {{ margin: 0; overflow-x: auto; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
th, td {{ padding: .25rem .75rem; text-align: right; border-bottom: 1px solid #ddd; }}
th:first-child, td:first-child, td:last-child, th:last-child {{ text-align: left; }}
</style>
<h1>{title}</h1>
<figure>
{svg}</figure>
<div style="overflow-x: auto">
<table>
<thead>
<tr><th>answer</th><th>first content</th><th>total</th><th>deltas</th>
<th>longest wait</th><th>stalls</th><th>end</th></tr>
</thead>
<tbody>
{rows}
</tbody>
</table>
</div>
</html>
"""


@dataclass(frozen=True)
class TimelineRow:
    """One response: its name, timings and end reason; `stall_seconds` is the inter-token latency above which it is a stall."""

    label: str
    timings: Timings
    end: str | None = None
    stall_seconds: float = 1.0

    @property
    def timed(self) -> bool:
        """Whether the arrival times are known."""
        return self.timings.total is not None

    @property
    def seconds(self) -> float:
        """The seconds from the request to the end; 0 if unknown."""
        return self.timings.total or 0.0

    @property
    def stalls(self) -> list[Stall]:
        """The stalls between deltas."""
        return stalls(self.timings.deltas, self.stall_seconds)


def as_text(row: TimelineRow, width: int = 60, *, ascii_only: bool = False) -> str:
    """Return the timeline as one line of text.

    `·` is the time to first token, the height of a bar the number of deltas in its interval, a space an interval without deltas,
    and `!` a stall. Without arrival times, the line says so.
    """
    if not row.timed:
        return "no times of arrival"
    levels, wait = (_ASCII_LEVELS, "'") if ascii_only else (_LEVELS, "·")
    cells = _cells(row, width)
    most = max(cells, default=0)
    first = _cell(row, row.timings.deltas[0], width) if row.timings.deltas else width
    line = [
        levels[math.ceil(number * len(levels) / most) - 1] if number else wait if at < first else " "
        for at, number in enumerate(cells)
    ]
    for stall in row.stalls:
        for at in range(_cell(row, stall.at, width) + 1, _cell(row, stall.at + stall.seconds, width)):
            line[at] = "!"
    return f"|{''.join(line)}| {row.seconds:.2f} s"


def _cell(row: TimelineRow, at: float, width: int) -> int:
    return min(width - 1, int(width * at / row.seconds)) if row.seconds else 0


def _cells(row: TimelineRow, width: int) -> list[int]:
    cells = [0] * width
    for at in row.timings.deltas:
        cells[_cell(row, at, width)] += 1
    return cells


def as_svg(rows: Sequence[TimelineRow], title: str = "When the answers arrived") -> str:
    """Return all rows on one time axis, as an SVG document."""
    step, end = scale(max((row.seconds for row in rows), default=0.0))
    plot, height = WIDTH - LEFT - RIGHT, TOP + ROW * max(1, len(rows)) + 84
    bottom = TOP + ROW * max(1, len(rows))

    def x(seconds: float) -> float:
        return LEFT + plot * seconds / end

    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'role="img" font-family="sans-serif" font-size="13" fill="#222">',
        f"<title>{escaped(title)}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="16" y="30" font-size="16">{escaped(title)}</text>',
    ]
    for number in range(round(end / step) + 1):
        at = round(number * step, 12)
        lines.append(f'<line x1="{x(at):.2f}" y1="{TOP}" x2="{x(at):.2f}" y2="{bottom}" stroke="#eee"/>')
        lines.append(f'<text x="{x(at):.2f}" y="{bottom + 18}" text-anchor="middle">{at:.12g}</text>')
    lines.append(
        f'<text x="{LEFT + plot // 2}" y="{bottom + 38}" text-anchor="middle">seconds after the request</text>'
    )
    for number, row in enumerate(rows):
        y = TOP + ROW * number
        lines.append(f'<text x="{LEFT - 12}" y="{y + 21}" text-anchor="end">{escaped(_short(row.label))}</text>')
        if row.timed:
            lines += _bars(row, x, y)
            lines.append(f'<text x="{x(row.seconds) + 8:.2f}" y="{y + 21}">{row.seconds:.2f} s</text>')
        else:
            lines.append(f'<text x="{LEFT + 8}" y="{y + 21}" fill="#777">no times of arrival</text>')
    lines += _legend(bottom + 62)
    return "\n".join([*lines, "</svg>", ""])


def _bars(row: TimelineRow, place: Callable[[float], float], y: float) -> Iterator[str]:
    deltas = row.timings.deltas
    first = deltas[0] if deltas else row.seconds
    yield _rectangle(place(0.0), place(first), y + 14, 4, _WAIT)
    for stall in row.stalls:
        yield _rectangle(place(stall.at), place(stall.at + stall.seconds), y + 12, 8, _STALL)
    # One path, because a response may have thousands of deltas; deltas in the same tenth of a pixel share a stroke.
    strokes = sorted({round(place(at), 1) for at in deltas})
    if strokes:
        path = "".join(f"M{at:g} {y + 6}v20" for at in strokes)
        yield f'<path d="{path}" stroke="{_DELTA}" stroke-width="1.2" fill="none"/>'
    end = f"{place(row.seconds):.2f}"
    yield f'<line x1="{end}" y1="{y + 4}" x2="{end}" y2="{y + 28}" stroke="{_END}" stroke-width="2"/>'


def _rectangle(left: float, right: float, y: float, height: float, fill: str) -> str:
    return f'<rect x="{left:.2f}" y="{y}" width="{max(0.0, right - left):.2f}" height="{height}" fill="{fill}"/>'


def _legend(y: int) -> Iterator[str]:
    entries = ((_WAIT, "wait for the first content"), (_DELTA, "delta"), (_STALL, "stall"), (_END, "end"))
    x = LEFT
    for color, label in entries:
        yield f'<rect x="{x}" y="{y - 10}" width="12" height="12" fill="{color}"/>'
        yield f'<text x="{x + 18}" y="{y}">{label}</text>'
        x += 40 + 8 * len(label)


def as_html(rows: Sequence[TimelineRow], title: str = "When the answers arrived") -> str:
    """Return the chart and a table with the same metrics, as a self-contained HTML page."""
    table = "\n".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in _metrics(row))}</tr>" for row in rows)
    return _PAGE.format(title=escaped(title), svg=as_svg(rows, title), rows=table)


def _metrics(row: TimelineRow) -> list[str]:
    timings, found = row.timings, row.stalls
    longest = timings.inter_token_latency(100)
    deltas = str(len(timings.deltas)) if row.timed else "-"
    return [
        row.label,
        _seconds(timings.first_content),
        _seconds(timings.total),
        deltas,
        _seconds(longest),
        str(len(found)) if row.timed else "-",
        row.end or "-",
    ]


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"


def _short(label: str) -> str:
    return label if len(label) <= 30 else f"…{label[-29:]}"
