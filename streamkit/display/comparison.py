"""Measures how much sooner a response can be read if it is streamed: the comparison of OpenAI's guide, for any endpoint.

    compared = await streamkit.compare(url, chat_body, text_body, headers=headers)
    print(compared)
    compared.save("compared.svg")

The guide is https://github.com/openai/openai-cookbook, How_to_stream_completions.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from urllib.parse import urlsplit, urlunsplit

import msgspec

from streamkit.core.stage import AsyncStage, Stage
from streamkit.display.chart import Curve, draw
from streamkit.errors import PipelineError
from streamkit.events import EndReason, Event, TextDelta, Timings
from streamkit.sources import http
from streamkit.sse.parse import Parse
from streamkit.stages.extract import Extract
from streamkit.stages.timing import Timing

if TYPE_CHECKING:
    from rich.table import Table

Mode: TypeAlias = Literal["streaming", "whole"]
MODES: tuple[Mode, ...] = ("streaming", "whole")
_CHAT, _TEXT = "/chat/completions", "/completions"


class ComparedAnswer(msgspec.Struct, frozen=True):
    """One measured response: its timings, its end reason, and `growth`: (seconds, characters of text released by then)."""

    timings: Timings
    end: EndReason
    growth: tuple[tuple[float, int], ...]


class Row(msgspec.Struct, frozen=True):
    """One request and mode. The metrics are medians over its responses, in seconds; `None` if no response has the value.

    `total` is the time until the last event. `tokens_per_second` excludes the time to first token, so a response in one piece
    has none.
    """

    api: str
    mode: Mode
    answers: tuple[ComparedAnswer, ...]

    @property
    def first_byte(self) -> float | None:
        return _median(answer.timings.first_byte for answer in self.answers)

    @property
    def first_content(self) -> float | None:
        return _median(answer.timings.first_content for answer in self.answers)

    @property
    def first_released(self) -> float | None:
        return _median(answer.timings.first_released for answer in self.answers)

    @property
    def total(self) -> float | None:
        return _median(answer.timings.total for answer in self.answers)

    @property
    def tokens(self) -> float | None:
        return _median(answer.timings.tokens for answer in self.answers)

    @property
    def tokens_per_second(self) -> float | None:
        return _median(answer.timings.tokens_per_second for answer in self.answers)

    @property
    def typical(self) -> ComparedAnswer:
        """The response with the median total time; the lower one if there are two."""
        ordered = sorted(self.answers, key=lambda answer: answer.timings.total or 0.0)
        return ordered[(len(ordered) - 1) // 2]

    def to_dict(self) -> dict[str, Any]:
        """Return the metrics by name, as JSON-compatible data."""
        names = ("first_byte", "first_content", "first_released", "total", "tokens", "tokens_per_second")
        return {
            "api": self.api,
            "mode": self.mode,
            **{name: getattr(self, name) for name in names},
            "ends": [answer.end for answer in self.answers],
        }


class Comparison(msgspec.Struct, frozen=True):
    """The result of a comparison. `str` returns a table, rich prints one, a notebook shows a chart."""

    rows: tuple[Row, ...]
    """One row per body and mode, in the order of the requests."""

    @property
    def saved(self) -> dict[str, float]:
        """For each API, the seconds by which streaming releases the first text earlier."""
        first = {(row.api, row.mode): row.first_released for row in self.rows}
        return {
            api: waited - streamed
            for (api, mode), streamed in first.items()
            if mode == "streaming" and streamed is not None and (waited := first.get((api, "whole"))) is not None
        }

    def to_dict(self) -> dict[str, Any]:
        """Return all metrics as JSON-compatible data."""
        return {"rows": [row.to_dict() for row in self.rows], "saved": self.saved}

    def __str__(self) -> str:
        titles, cells = self._cells()
        widths = [max(map(len, column)) for column in zip(titles, *cells, strict=True)]
        lines = [
            "  ".join(
                cell.ljust(width) if number in _TO_THE_LEFT else cell.rjust(width)
                for number, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in [titles, *cells]
        ]
        return "\n".join(lines)

    def __rich__(self) -> "Table":
        from rich.table import Table

        titles, cells = self._cells()
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for number, title in enumerate(titles):
            table.add_column(title, justify="left" if number in _TO_THE_LEFT else "right", no_wrap=True)
        for row, line in zip(self.rows, cells, strict=True):
            table.add_row(*line, style="green" if row.mode == "streaming" else None)
        return table

    def svg(self) -> str:
        """Return a chart of the text of each row's typical response over time, as an SVG document."""
        curves = [
            Curve(
                f"{row.api}, {row.mode}",
                row.typical.growth,
                row.typical.timings.total or 0.0,
                dashed=row.mode == "whole",
            )
            for row in self.rows
        ]
        return draw("Text that can be read", curves, "seconds after the request", "characters")

    _repr_svg_ = svg

    def save(self, path: str | PathLike[str]) -> None:
        """Write the chart to a file, replacing an existing one. Blocking."""
        Path(path).write_text(self.svg(), encoding="utf-8")

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        released = any(row.first_released != row.first_content for row in self.rows)
        titles = ["api", "mode", "first byte", "first content", "first released", "total", "tokens", "tok/s", "end"]
        cells = [
            [
                row.api,
                row.mode,
                *map(_seconds, (row.first_byte, row.first_content, row.first_released, row.total)),
                "-" if row.tokens is None else f"{row.tokens:g}",
                "-" if row.tokens_per_second is None else f"{row.tokens_per_second:.1f}",
                ", ".join(dict.fromkeys(answer.end for answer in row.answers)),
            ]
            for row in self.rows
        ]
        if not released:
            for line in (titles, *cells):
                del line[4]
        return titles, cells


async def compare(
    url: str,
    *bodies: Mapping[str, Any],
    headers: Mapping[str, str] | None = None,
    runs: int = 1,
    through: Stage[Event, Event] | AsyncStage[Event, Event] | None = None,
    **options: Any,
) -> Comparison:
    """Send each of the `bodies` with and without streaming, and measure the times of the responses.

    The bodies are posted to `url`. If it ends in `/chat/completions`, `/completions` or `/v1`, a body with a `prompt` is posted
    to the legacy completions endpoint beside it, and all others to chat completions; streams of these two also request usage.
    The field `stream` is set in every body. `through`: stages between `Extract` and `Timing`, such as `Moderate` or `Count`.
    `runs`: the number of requests per body and mode; the metrics are medians. `headers` and further options (`deadlines`,
    `session`, …) go to `http.post`.

    The requests are sent one at a time, alternating between bodies and modes, so that none slows another down. An error of a
    request is raised with a note that names the request.
    """
    if not bodies or runs < 1:
        raise PipelineError(f"expected at least one body and one run, found {len(bodies)} and {runs}")
    names = _names([_api(url, body) for body in bodies])
    answers: dict[tuple[str, Mode], list[ComparedAnswer]] = {(name, mode): [] for name in names for mode in MODES}
    for _ in range(runs):
        for name, body in zip(names, bodies, strict=True):
            for mode in MODES:
                source = http.post(
                    endpoint(url, body),
                    json=_request_body(url, body, streamed=mode == "streaming"),
                    headers=headers,
                    **options,
                )
                try:
                    answers[name, mode].append(await _take(source, through))
                except Exception as error:
                    error.add_note(f"in the request of {name}, {mode}")
                    raise
    return Comparison(tuple(Row(name, mode, tuple(found)) for (name, mode), found in answers.items()))


@dataclass
class _Growth(Stage[Event, Event]):
    """Records the number of characters of text over time."""

    points: list[tuple[float, int]] = field(default_factory=list[tuple[float, int]], init=False)
    _opened: float | None = field(default=None, init=False)
    _now: float = field(default=0.0, init=False)

    def tick(self, now: float) -> None:
        if self._opened is None:
            self._opened = now
        self._now = now - self._opened

    def feed(self, item: Event) -> Iterable[Event]:
        if isinstance(item, TextDelta):
            before = self.points[-1][1] if self.points else 0
            self.points.append((self._now, before + len(item.text)))
        return (item,)


async def _take(source: http.Http, through: Stage[Event, Event] | AsyncStage[Event, Event] | None) -> ComparedAnswer:
    stream = source | Parse() | Extract()
    if through is not None:
        stream = stream | through
    timings: Timings | None = None
    async with stream | _Growth() | Timing() as events:
        async for event in events:
            if isinstance(event, Timings):
                timings = event
        # Both are set after the natural end of a stream.
        assert timings is not None
        assert events.end is not None
        return ComparedAnswer(timings, events.end.reason, tuple(events.stage(_Growth).points))


def endpoint(url: str, body: Mapping[str, Any]) -> str:
    """Return the URL for a body; a URL that is none of OpenAI's two completions endpoints is returned unchanged."""
    base = _base(url)
    if base is None:
        return url
    parts = urlsplit(url)
    path = base + (_TEXT if "prompt" in body and "messages" not in body else _CHAT)
    return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))


def _base(url: str) -> str | None:
    path = urlsplit(url).path.rstrip("/")
    for ending in (_CHAT, _TEXT):
        if path.endswith(ending):
            return path.removesuffix(ending)
    return path if path.endswith("/v1") else None


def _api(url: str, body: Mapping[str, Any]) -> str:
    path = urlsplit(endpoint(url, body)).path.rstrip("/")
    if _base(url) is None:
        return path.rpartition("/")[2] or "answer"
    return "chat" if path.endswith(_CHAT) else "legacy"


def _names(apis: Sequence[str]) -> list[str]:
    """Return the API names, numbered if one occurs several times."""
    return [api if apis.count(api) == 1 else f"{api} {apis[: at + 1].count(api)}" for at, api in enumerate(apis)]


def _request_body(url: str, body: Mapping[str, Any], *, streamed: bool) -> dict[str, Any]:
    request_body = {name: value for name, value in body.items() if name not in ("stream", "stream_options")}
    options = dict(body.get("stream_options") or {})
    if _base(url) is not None:
        # Only OpenAI's endpoints are known to accept this field. The caller's own options have priority.
        options = {"include_usage": True} | options
    if streamed and options:
        request_body["stream_options"] = options
    return request_body | {"stream": streamed}


def _median(values: Iterable[float | None]) -> float | None:
    import statistics

    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"


_TO_THE_LEFT = (0, 1)
