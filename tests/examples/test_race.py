"""Two embedded providers raced: what the reader sees, and what becomes of the loser's connection."""

import asyncio

import pytest

import streamkit as sk
from streamkit.cli.provider import serve
from tests.examples.conftest import Load
from tests.examples.providers import PROVIDER, Stalling

pytestmark = pytest.mark.asyncio
COUNT = "\n\n1, 2, 3."


@pytest.mark.parametrize("hedge", [0.0, 0.01])
async def test_the_first_with_content_is_read_and_the_losers_connection_is_closed(
    load: Load, capsys: pytest.CaptureFixture[str], hedge: float
) -> None:
    silent = Stalling()
    async with serve(silent.provider) as slow, serve(PROVIDER) as quick:
        assert await load("race").main("Count to 3", [f"{slow}/v1", f"{quick}/v1"], hedge=hedge) == COUNT
        assert silent.stalled.is_set()
        await asyncio.wait_for(silent.left.wait(), 5)
    assert capsys.readouterr().out == f"[{quick}/v1]\n{COUNT}\n"


async def test_the_second_is_not_asked_while_the_first_answers_in_time(load: Load) -> None:
    other = Stalling()
    async with serve(PROVIDER) as first, serve(other.provider) as second:
        assert await load("race").main("Count to 3", [f"{first}/v1", f"{second}/v1"], hedge=60) == COUNT
    assert not other.stalled.is_set()


async def test_a_provider_that_is_not_there_is_out_at_once(load: Load) -> None:
    async with serve(PROVIDER) as second:
        assert await load("race").main("Count to 3", ["http://127.0.0.1:9/v1", f"{second}/v1"], hedge=60) == COUNT


async def test_a_provider_whose_model_fails_is_asked_for_the_smaller_one(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    race = load("race")
    monkeypatch.setattr(race, "MODELS", ("error-500", "gpt-4o-mini"))
    async with serve(PROVIDER) as url:
        assert await race.main("Count to 3", [f"{url}/v1"]) == COUNT


async def test_an_answer_that_breaks_off_begins_again(
    load: Load, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    post, faults = sk.http.post, iter([{"x-demo-fault": "cut=700"}, {}])
    monkeypatch.setattr(sk.http, "post", lambda at, **more: post(at, **more | {"headers": next(faults)}))
    async with serve(PROVIDER) as url:
        assert await load("race").main("Count to 3", [f"{url}/v1"]) == COUNT
    name, *broken, again, _, _, answer = capsys.readouterr().out.splitlines()
    assert (name, again, answer) == (f"[{url}/v1]", "[Disconnected: once more from the beginning]", "1, 2, 3.")
    assert answer.startswith(broken[-1])
    assert broken[-1] != answer


async def test_when_all_fail_the_last_failure_is_raised(load: Load) -> None:
    # Port 9 is for discarding what comes, and nobody listens there.
    with pytest.raises(sk.errors.ConnectFailed):
        await load("race").main("Count to 3", ["http://127.0.0.1:9/v1", "http://127.0.0.1:9/v1"])
