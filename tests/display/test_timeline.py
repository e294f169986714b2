"""When answers arrived, as text, SVG and HTML."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from streamkit.display.timeline import TimelineRow, as_html, as_svg, as_text
from streamkit.events import Timings

ROW = TimelineRow("a.jsonl", Timings(1.0, 2.0, (2.0, 2.1, 2.2, 2.9, 7.5), 10.0), "completed", stall_seconds=3.0)
UNTIMED = TimelineRow("body.sse", Timings(None, None, (), None), "completed")


def test_a_row_of_text_has_the_wait_the_deltas_and_the_stall() -> None:
    assert as_text(ROW, 10) == "|··█!!!!▂  | 10.00 s"
    assert as_text(ROW, 10, ascii_only=True) == "|''@!!!!:  | 10.00 s"


def test_without_times_it_says_so() -> None:
    assert as_text(UNTIMED, 10) == "no times of arrival"
    assert "no times of arrival" in as_svg([UNTIMED])


@pytest.mark.parametrize(
    ("timings", "line"),
    [
        (Timings(None, None, (), 0.0), "|····| 0.00 s"),
        (Timings(0.0, 0.0, (0.0,), 0.0), "|█   | 0.00 s"),
        (Timings(1.0, None, (), 2.0), "|····| 2.00 s"),
        (Timings(1.0, 1.0, (2.0,), 2.0), "|···█| 2.00 s"),
    ],
    ids=["nothing at once", "all at once", "no content", "at the very end"],
)
def test_the_edges(timings: Timings, line: str) -> None:
    assert as_text(TimelineRow("a", timings), 4) == line
    ElementTree.fromstring(as_svg([TimelineRow("a", timings)]))


def test_the_chart_has_a_label_the_deltas_and_the_stall_of_each_row() -> None:
    tree = ElementTree.fromstring(as_svg([ROW, UNTIMED]))
    names = {"svg": "http://www.w3.org/2000/svg"}
    texts = [element.text for element in tree.iterfind(".//svg:text", names)]

    assert [text for text in ("a.jsonl", "body.sse", "10.00 s", "stall") if text not in texts] == []
    (strokes,) = tree.findall("svg:path", names)
    assert strokes.attrib["d"].count("M") == 5
    # The one in the chart, and the one in the legend.
    assert len(tree.findall("svg:rect[@fill='#d55e00']", names)) == 2


def test_the_page_has_the_chart_and_a_table_and_needs_nothing_else() -> None:
    page = as_html([ROW, UNTIMED])

    assert (
        "<td>a.jsonl</td><td>2.00 s</td><td>10.00 s</td><td>5</td><td>4.60 s</td><td>1</td><td>completed</td>" in page
    )
    assert "<td>body.sse</td><td>-</td><td>-</td><td>-</td><td>-</td><td>-</td><td>completed</td>" in page
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "<svg" in page


def test_a_name_is_only_text() -> None:
    evil = TimelineRow("<script>&\x00", ROW.timings, "completed")

    ElementTree.fromstring(as_svg([evil]))
    assert "<script>" not in as_html([evil])


def test_no_answers_are_an_empty_chart() -> None:
    ElementTree.fromstring(as_svg([]))
    assert "<tbody>\n\n</tbody>" in as_html([])


def test_an_answer_of_many_deltas_stays_small() -> None:
    many = Timings(0.0, 0.0, tuple(number / 1000 for number in range(100_000)), 100.0)

    assert len(as_svg([TimelineRow("long", many)])) < 200_000
