"""The Textual app, run headless, against the embedded provider."""

import pytest
from textual.widgets import Input, Markdown, Static

from streamkit.cli.provider import Provider, serve
from tests.examples.conftest import Load

pytestmark = pytest.mark.asyncio
ANSWERS = {"Heading?": "# A heading\n\nand text"}


async def test_an_answer_grows_as_markdown_with_its_figures_below(load: Load) -> None:
    app = load("textual_app")
    async with serve(Provider(answers=ANSWERS, first_token_seconds=0, token_seconds=0)) as url:
        chat = app.Chat(f"{url}/v1")
        async with chat.run_test() as pilot:
            chat.query_one(Input).value = "Heading?"
            await pilot.press("enter")
            await pilot.pause()
            await chat.workers.wait_for_complete()
            await pilot.pause()

            assert chat.query_one(Markdown).source == "# A heading\n\nand text"
            figures = str(chat.query_one(Static).render())
            assert figures.startswith("6 tokens, ")
            assert figures.endswith("s, completed")


async def test_an_error_is_shown_in_the_line(load: Load) -> None:
    app = load("textual_app")
    async with serve(Provider()) as url:
        chat = app.Chat(f"{url}/v1", "error-429")
        async with chat.run_test() as pilot:
            chat.query_one(Input).value = "Hello"
            await pilot.press("enter")
            await pilot.pause()
            await chat.workers.wait_for_complete()
            await pilot.pause()

            assert "found status 429" in str(chat.query_one(Static).render())
