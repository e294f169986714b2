"""The picture: well-formed, its lines where the numbers are, and nothing in it that anybody could break it with."""

from xml.etree import ElementTree

import pytest

from streamkit.display.chart import Curve, draw, scale, steps

SVG = "{http://www.w3.org/2000/svg}"
# The plot is 600 wide and 300 high, and its lower left corner at (80, 360).
STREAMED = Curve("streamed", [(0.5, 20), (1.0, 100)], end=1.5)
WHOLE = Curve("whole", [(2.0, 100)], end=2.0, dashed=True)


def parsed(*curves: Curve, title: str = "Text") -> ElementTree.Element:
    return ElementTree.fromstring(draw(title, curves, "seconds", "characters"))


def texts(picture: ElementTree.Element) -> list[str | None]:
    return [element.text for element in picture.iter(f"{SVG}text")]


def test_what_is_there_stays_until_more_comes() -> None:
    assert list(steps(STREAMED)) == [(0.0, 0.0), (0.5, 0.0), (0.5, 20), (1.0, 20), (1.0, 100), (1.5, 100)]
    assert list(steps(Curve("nothing", [], end=3.0))) == [(0.0, 0.0), (3.0, 0.0)]


def test_each_line_lies_where_its_numbers_are() -> None:
    streamed, whole = parsed(STREAMED, WHOLE).iter(f"{SVG}polyline")

    assert streamed.attrib["points"].split() == [
        "80.00,360.00",
        "230.00,360.00",
        "230.00,300.00",
        "380.00,300.00",
        "380.00,60.00",
        "530.00,60.00",
    ]
    assert whole.attrib["points"].split() == ["80.00,360.00", "680.00,360.00", "680.00,60.00", "680.00,60.00"]


def test_lines_are_told_apart_by_color_and_dashes_and_named() -> None:
    picture = parsed(STREAMED, WHOLE)
    streamed, whole = picture.iter(f"{SVG}polyline")

    assert streamed.attrib["stroke"] != whole.attrib["stroke"]
    assert ("stroke-dasharray" in streamed.attrib, "stroke-dasharray" in whole.attrib) == (False, True)
    assert texts(picture)[-2:] == ["streamed", "whole"]


def test_the_axes_have_round_numbers_and_names() -> None:
    found = texts(parsed(STREAMED, WHOLE))

    seconds = ["0", "0.2", "0.4", "0.6", "0.8", "1", "1.2", "1.4", "1.6", "1.8", "2"]
    characters = ["0", "10", "20", "30", "40", "50", "60", "70", "80", "90", "100"]
    assert found == ["Text", *seconds, *characters, "seconds", "characters", "streamed", "whole"]


@pytest.mark.parametrize(
    ("largest", "step", "end"),
    [
        (0, 0.2, 1.0),
        (1, 0.1, 1.0),
        (1.01, 0.2, 1.2),
        (2.1, 0.5, 2.5),
        (5.1, 1.0, 6.0),
        (9.99, 1.0, 10.0),
        (0.0042, 0.0005, 0.0045),
        (1234567, 200000, 1400000),
    ],
)
def test_an_axis_reaches_as_far_as_it_must_in_round_steps(largest: float, step: float, end: float) -> None:
    assert scale(largest) == pytest.approx((step, end))


@pytest.mark.parametrize(
    "text", ['</svg><script>alert("1")</script>', "a & b < c", "nul \x00, bell \x07, \udc80", "日本語"]
)
def test_any_text_is_only_text(text: str) -> None:
    picture = parsed(Curve(text, [(1.0, 1)], end=1.0), title=text)

    shown = "".join(character if character.isprintable() else "\ufffd" for character in text)
    assert texts(picture)[0] == texts(picture)[-1] == shown
    assert {element.tag.removeprefix(SVG) for element in picture.iter()} == {
        *("svg", "title", "rect", "text", "line", "polyline")
    }


def test_nothing_at_all_is_a_picture_too() -> None:
    assert list(parsed().iter(f"{SVG}polyline")) == []
    (empty,) = parsed(Curve("empty", [], end=0.0)).iter(f"{SVG}polyline")
    assert empty.attrib["points"] == "80.00,360.00 80.00,360.00"
