"""A line chart of growing values over time, as SVG 1.1 with axes and a legend, generated without a drawing library."""

import html
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

WIDTH, HEIGHT = 880, 460
LEFT, TOP = 80, 60
PLOT_WIDTH, PLOT_HEIGHT = 600, 300
# Distinguishable with red-green color blindness. (Okabe and Ito, https://jfly.uni-koeln.de/color/)
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
# Characters that XML 1.0 forbids, even escaped. (https://www.w3.org/TR/xml/#charsets)
_NOT_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

Point: TypeAlias = tuple[float, float]
Placing: TypeAlias = Callable[[Point], Point]


@dataclass(frozen=True)
class Curve:
    """A step function: `points` are (time, value from then on), ordered by time; 0 before the first; `end` is the last time."""

    label: str
    points: Sequence[Point]
    end: float
    dashed: bool = False


def draw(title: str, curves: Sequence[Curve], x_label: str, y_label: str) -> str:
    """Return the chart as an SVG document. Both axes start at zero."""
    x_step, x_end = scale(max((curve.end for curve in curves), default=0.0))
    y_step, y_end = scale(max((value for curve in curves for _, value in curve.points), default=0.0))

    def place(point: Point) -> Point:
        x, y = point
        return LEFT + PLOT_WIDTH * x / x_end, TOP + PLOT_HEIGHT * (1 - y / y_end)

    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        'role="img" font-family="sans-serif" font-size="13" fill="#222">',
        f"<title>{escaped(title)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="{LEFT}" y="{TOP - 25}" font-size="16">{escaped(title)}</text>',
        *_grid(x_step, x_end, y_step, y_end, place),
        f'<text x="{LEFT + PLOT_WIDTH // 2}" y="{TOP + PLOT_HEIGHT + 45}" text-anchor="middle">{escaped(x_label)}</text>',
        f'<text transform="translate(20 {TOP + PLOT_HEIGHT // 2}) rotate(-90)" text-anchor="middle">{escaped(y_label)}</text>',
    ]
    right = LEFT + PLOT_WIDTH
    for number, curve in enumerate(curves):
        stroke = f'stroke="{COLOURS[number % len(COLOURS)]}" stroke-width="2.5"'
        if curve.dashed:
            stroke += ' stroke-dasharray="7 5"'
        lines.append(f'<polyline fill="none" {stroke} points="{_points(map(place, steps(curve)))}"/>')
        y = TOP + 10 + 22 * number
        lines.append(f'<line x1="{right + 15}" y1="{y}" x2="{right + 45}" y2="{y}" {stroke}/>')
        lines.append(f'<text x="{right + 53}" y="{y + 4}">{escaped(curve.label)}</text>')
    return "\n".join([*lines, "</svg>", ""])


def steps(curve: Curve) -> Iterator[Point]:
    """Yield the corners of a curve: each value holds until the next point."""
    level = 0.0
    yield 0.0, level
    for at, value in curve.points:
        yield at, level
        yield at, value
        level = value
    yield curve.end, level


def scale(largest: float) -> tuple[float, float]:
    """Return the distance between ticks, a round number, and the end of an axis up to `largest` with five to ten ticks."""
    if largest <= 0:
        return 0.2, 1.0
    power = 10.0 ** math.floor(math.log10(largest))
    step = next(factor * power for factor in (0.1, 0.2, 0.5, 1.0) if largest <= factor * power * 10)
    return step, step * math.ceil(largest / step - 1e-9)


def _grid(x_step: float, x_end: float, y_step: float, y_end: float, place: Placing) -> Iterator[str]:
    bottom, right = TOP + PLOT_HEIGHT, LEFT + PLOT_WIDTH
    for value in _ticks(x_step, x_end):
        x = f"{place((value, 0))[0]:.2f}"
        yield f'<line x1="{x}" y1="{TOP}" x2="{x}" y2="{bottom}" stroke="#ddd"/>'
        yield f'<text x="{x}" y="{bottom + 20}" text-anchor="middle">{value:.12g}</text>'
    for value in _ticks(y_step, y_end):
        y = place((0, value))[1]
        yield f'<line x1="{LEFT}" y1="{y:.2f}" x2="{right}" y2="{y:.2f}" stroke="#ddd"/>'
        yield f'<text x="{LEFT - 8}" y="{y + 4:.2f}" text-anchor="end">{value:.12g}</text>'


def _ticks(step: float, end: float) -> list[float]:
    return [round(number * step, 12) for number in range(round(end / step) + 1)]


def _points(points: Iterable[Point]) -> str:
    return " ".join(f"{x:.2f},{y:.2f}" for x, y in points)


def escaped(text: str) -> str:
    """Return the text escaped for XML."""
    return html.escape(_NOT_XML.sub("\ufffd", text))
