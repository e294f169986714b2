"""An answer shown while it arrives: as plain text, in a terminal, and in the output of a notebook's cell."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

import streamkit as sk
from streamkit.display import live
from streamkit.display.answer import ShownAnswer, printable
from streamkit.display.live import NotebookScreen, PlainScreen, TerminalScreen, as_html, markdown_to_html
from streamkit.events import ToolOutput

RULES = sk.Rule("secret", phrases=("blue heron 42",))
PIPELINE = sk.Parse() | sk.Extract() | sk.Moderate(RULES) | sk.Accumulate() | sk.Count("gpt-4o")
pytestmark = pytest.mark.anyio


def body(*texts: str, end: str = "data: [DONE]\n\n") -> bytes:
    chunk = 'data: {"choices":[{"index":0,"delta":{"content":"%s"}}]}\n\n'
    finish = 'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    return ("".join(chunk % text for text in texts) + finish + end).encode()


def answered(*events: sk.Event, seconds: float = 0.5) -> ShownAnswer:
    """An answer with these events, of which each came half a second after the one before it."""
    clock = iter(number * seconds for number in range(1000))
    answer = ShownAnswer(PIPELINE.open(b""), lambda: next(clock))
    for event in events:
        answer.take(event)
    return answer


async def test_without_a_terminal_the_text_is_written_and_the_answer_returned(
    capsys: pytest.CaptureFixture[str],
) -> None:
    completion = await sk.show(PIPELINE.open(body("it is blue her", "on 42", ", *really*")))

    assert completion is not None
    assert completion.text == "it is [redacted], *really*"
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["it is [redacted], *really*", "[redacted secret (content 6-19)]"]
    assert lines[2].startswith("[9 tokens  ")
    assert lines[2].endswith("s  completed]")


async def test_without_accumulate_there_is_no_answer_to_return(capsys: pytest.CaptureFixture[str]) -> None:
    assert await sk.show((sk.Parse() | sk.Extract()).open(body("a"))) is None
    assert capsys.readouterr().out.startswith("a\n[1 deltas  ")


async def test_an_error_is_raised_after_what_came_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(sk.errors.ProtocolError):
        await sk.show(PIPELINE.open(body("half", end="data: {nonsense\n\n")))

    assert "half\n" in capsys.readouterr().out


async def test_what_is_no_stream_is_refused() -> None:
    with pytest.raises(sk.PipelineError, match=r"show: expected a stream \(source \| pipeline\), found "):
        await sk.show(b"bytes")  # type: ignore[arg-type] # pyright: ignore


async def test_a_terminal_gets_the_last_rows_and_at_the_end_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    console = Console(file=file, width=40, height=6, force_terminal=True, color_system=None, legacy_windows=False)
    monkeypatch.setattr(live, "_screen", lambda: TerminalScreen(console))

    await sk.show(PIPELINE.open(body("# Title\\n\\n" + "\\n".join(f"- item {number}" for number in range(20)))))

    output = file.getvalue()
    shown = output.rpartition("\x1b[?25h")[2]
    assert "Title" in shown
    assert [f"item {number}" in shown for number in range(20)] == [True] * 20
    assert "completed" in shown
    assert output.count("\x1b[?25l") == output.count("\x1b[?25h") == 1


async def test_a_terminal_obeys_nothing_that_a_model_writes() -> None:
    file = io.StringIO()
    console = Console(file=file, width=60, force_terminal=True, color_system=None)
    terminal = TerminalScreen(console)
    answer = answered(sk.TextDelta("List<int> \x1b[2J<b>x</b> ![i](http://a/b)"))

    terminal.begin(answer)
    terminal.end(answer)

    shown = file.getvalue().rpartition("\x1b[?25h")[2]
    assert "List<int> \ufffd[2J<b>x</b>" in shown
    assert "\x1b[2J" not in shown


class Display:
    """IPython's `display`, and the handle that it returns."""

    def __init__(self) -> None:
        self.shown: list[Any] = []

    def __call__(self, page: Any, *, display_id: bool) -> Display:
        assert display_id
        self.shown.append(page)
        return self

    def update(self, page: Any) -> None:
        self.shown.append(page)


async def test_the_output_of_a_cell_is_replaced_while_the_answer_grows() -> None:
    display = Display()
    answer = answered()
    notebook = NotebookScreen(display)
    notebook.begin(answer)
    for text in ("**bo", "ld**"):
        answer.take(sk.TextDelta(text))
        notebook.draw(answer)
    answer.take(sk.StreamEnd("completed"))
    notebook.end(answer)

    pages = [page._repr_html_() for page in display.shown]
    assert [page.partition("</p>")[0] for page in pages[1:]] == ["<p>**bo", *["<p><strong>bold</strong>"] * 2]
    assert "completed" in pages[-1]
    assert repr(display.shown[-1]).startswith("**bold**\n[")


async def test_html_and_images_of_a_model_are_only_text_in_a_notebook() -> None:
    html = markdown_to_html(
        "<script>alert(1)</script> <img src=x onerror=alert(1)> ![i](https://evil/?q=secret) [l](javascript:alert(1)) `<b>`"
    )

    assert "<script" not in html
    assert "<img" not in html
    assert 'href="javascript' not in html
    assert "<code>&lt;b&gt;</code>" in html


async def test_everything_that_is_not_the_text_is_escaped_too() -> None:
    answer = answered(
        sk.ReasoningDelta("<b>hm</b>"),
        sk.ToolCallDelta(0, "id", "f", '{"a": "<i>"}'),
        sk.Redacted("<u>", 0, 3),
        ToolOutput("f", "<em>"),
    )

    html = as_html(answer)
    assert "<summary>reasoning, 9 characters</summary>" in html
    assert "&lt;b&gt;hm&lt;/b&gt;" in html
    for markup in ("<i>", "<u>", "<em>", "<b>"):
        assert markup not in html


async def test_the_figures_are_tokens_rate_cost_and_seconds() -> None:
    usage = sk.Usage(prompt_tokens=1, completion_tokens=5, total_tokens=6)
    answer = answered(sk.TextDelta("a"), sk.TextDelta("b"), usage, sk.StreamEnd("length"))

    # Opened at 0 s, content at 0.5 and 1 s, the end at 1.5 s.
    assert answer.metrics() == "5 tokens  8.0 tokens/s  1.5 s  length"


async def test_calls_grow_and_are_complete_with_the_completion() -> None:
    answer = answered(sk.ToolCallDelta(0, "id", "f"), sk.ToolCallDelta(0, arguments='{"a"'))
    assert answer.shown_calls() == ['f: {"a"']

    answer.take(sk.ToolCallDelta(0, arguments=": 1}"))
    answer.take(sk.Completion())
    answer.take(ToolOutput("f", {"b": 2}))
    assert answer.shown_calls() == ['f: {"a": 1}', 'f returned: {"b":2}']


async def test_of_many_verdicts_the_last_are_shown_and_the_others_counted() -> None:
    answer = answered(*(sk.Redacted("x", number, number + 1) for number in range(7)))

    assert answer.shown_verdicts() == [
        "2 verdicts before",
        *(f"redacted x (content {number}-{number + 1})" for number in range(2, 7)),
    ]


async def test_a_reset_begins_anew() -> None:
    answer = answered(sk.TextDelta("wrong"), sk.events.Reset("StatusError"), sk.TextDelta("right"))

    assert answer.text == "right"


def test_a_text_for_a_terminal_has_no_commands() -> None:
    assert printable("a\r\nb\x1b[1m\x9b\tc") == "a\nb\ufffd[1m\ufffd\tc"


async def test_plain_text_of_other_choices_is_not_mixed_in() -> None:
    written: list[str] = []
    plain = PlainScreen(written.append)
    for event in (sk.TextDelta("a"), sk.TextDelta("b", 1)):
        plain.write(event)

    assert written == ["a"]
