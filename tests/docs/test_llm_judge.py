"""The example of a model that judges, against the embedded provider in both roles."""

import importlib.util
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType

import pytest

import streamkit as sk
from streamkit.cli.provider import Provider, serve

pytestmark = pytest.mark.asyncio
EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "llm_judge.py"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("llm_judge", EXAMPLE)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def judge_of(prompt: str) -> str | None:
    """The judge's answers; for what is no question to a judge, the provider's own script."""
    if not prompt.startswith('{"before"'):
        return None
    text = json.loads(prompt)["text"]
    if "code word" in text:
        return '{"category": "secret", "confidence": 0.9}'
    return '{"category": "none", "confidence": 1}' if "odd" not in text else "I would say it is fine."


@asynccontextmanager
async def provider() -> AsyncGenerator[str, None]:
    async with serve(Provider(answers=judge_of, first_token_seconds=0, token_seconds=0)) as url:
        yield f"{url}/v1"


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("The code word is here.", sk.moderation.Decision("block", "secret", {"secret": 0.9})),
        ("All is well.", sk.moderation.Decision(scores={"none": 1.0})),
    ],
)
async def test_the_judges_answer_is_a_verdict(example: ModuleType, text: str, verdict: sk.moderation.Decision) -> None:
    async with provider() as url:
        assert await example.llm_judge(url)(sk.moderation.Window(0, text)) == verdict


async def test_an_answer_in_another_form_is_a_failure_and_no_verdict(example: ModuleType) -> None:
    async with provider() as url:
        with pytest.raises(sk.errors.ProtocolError, match="found an answer that raises JSONDecodeError"):
            await example.llm_judge(url)(sk.moderation.Window(0, "This is odd."))


async def test_an_answer_is_stopped_before_what_the_judge_forbids(
    example: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    async with provider() as url:
        await example.main(url, "the launch code")
    shown = capsys.readouterr().out
    assert shown.startswith("Certainly. [secret]\n")
    assert "blue" not in shown
