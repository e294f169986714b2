"""The plugin for pytest: marked tests have a cassette, in the mode that was chosen."""

import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import openai
import pytest
from anyio.from_thread import start_blocking_portal

import streamkit
from streamkit.cli.provider import Provider, serve
from streamkit.testing import Cassette

pytest_plugins = ["pytester"]
KEY = "sk-proj-0123456789abcdef"
TEST = """
import openai
import pytest

KEY = "KEY"

def ask(url, prompt="Ping?"):
    with openai.OpenAI(base_url=url, api_key=KEY, max_retries=0) as client:
        messages = [{"role": "user", "content": prompt}]
        stream = client.chat.completions.create(model="gpt-4o", messages=messages, stream=True)
        return "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)

""".replace('"KEY"', repr(KEY))


@pytest.fixture(autouse=True)
def _not_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)


@pytest.fixture(scope="module", autouse=True)
def _all_modules() -> None:
    """Import all of streamkit: pytester forgets modules that an inner run imports, and later tests would get second copies."""
    for module in walk_packages(streamkit.__path__, "streamkit."):
        import_module(module.name)


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    """The base URL of the embedded provider, in a thread of its own."""
    answers = Provider(answers={"Ping?": "Pong."}, first_token_seconds=0, token_seconds=0, count=len)
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(serve(answers)) as url:
        yield f"{url}/v1"


def written(pytester: pytest.Pytester, provider: str, body: str) -> None:
    pytester.makepyfile(test_it=TEST + body.replace("PROVIDER", repr(provider)))


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    quick = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-o", "asyncio_default_fixture_loop_scope=function")
    return pytester.runpytest_inprocess(*quick, *arguments)


def passed(pytester: pytest.Pytester, count: int, *arguments: str) -> None:
    run(pytester, *arguments).assert_outcomes(passed=count)


# pytester forgets what a run has imported; what is imported before it is not.
assert openai
assert Cassette
NOWHERE = "http://127.0.0.1:9/v1"


def test_a_marked_test_is_recorded_once_and_needs_no_provider_then(pytester: pytest.Pytester, provider: str) -> None:
    body = """
@pytest.mark.cassette(PROVIDER)
def test_a(cassette):
    assert ask(cassette.url) == "Pong."

@pytest.mark.cassette(PROVIDER)
@pytest.mark.parametrize("word", ["Ping?", "a/b: ☃"])
def test_b(cassette, word):
    assert ask(cassette.url, word)

class TestC:
    @pytest.mark.cassette(PROVIDER)
    async def test_d(self, cassette):
        import httpx2, streamkit as sk
        read = sk.Parse() | sk.Extract()
        body = {"model": "gpt-4o", "stream": True, "messages": [{"role": "user", "content": "Ping?"}]}
        assert await (sk.http.post(f"{cassette.url}/chat/completions", json=body) | read).text() == "Pong."
"""
    written(pytester, provider, body)
    passed(pytester, 4, "-o", "asyncio_mode=auto")

    folders = sorted(path.name for path in Path("cassettes/test_it").iterdir())
    assert [name.rpartition("-")[0] or name for name in folders] == [
        "TestC.test_d",
        "test_a",
        "test_b-Ping",
        "test_b-a-b-u2603",
    ]
    assert KEY not in "".join(path.read_text() for path in Path("cassettes").rglob("*.jsonl"))

    written(pytester, NOWHERE, body)
    passed(pytester, 4, "-o", "asyncio_mode=auto", "--cassette-mode=none")


def test_a_test_without_a_recording_fails_though_it_swallows_the_error(
    pytester: pytest.Pytester, provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    written(
        pytester,
        provider,
        """
@pytest.mark.cassette(PROVIDER)
def test_a(cassette):
    try:
        ask(cassette.url)
    except openai.BadRequestError as error:
        assert "there are no recordings" in str(error)
""",
    )

    result = run(pytester)

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        ["*POST /chat/completions: there are no recordings, and --cassette-mode=none makes none; *"]
    )
    assert not Path("cassettes").exists()


def test_the_mode_of_the_command_line_is_before_that_of_the_file(pytester: pytest.Pytester, provider: str) -> None:
    pytester.makeini("[pytest]\ncassette_mode = none\ncassette_dir = tapes\n")
    written(
        pytester,
        provider,
        """
@pytest.mark.cassette(PROVIDER, name="shared")
def test_a(cassette):
    assert not cassette.is_recording or ask(cassette.url) == "Pong."
""",
    )

    passed(pytester, 1)
    assert not Path("tapes").exists()
    passed(pytester, 1, "--cassette-mode=once")
    assert [path.name for path in Path("tapes/test_it/shared").iterdir()] == ["01.jsonl"]


def test_a_variable_gives_the_url_to_a_client_that_the_test_does_not_make(
    pytester: pytest.Pytester, provider: str
) -> None:
    written(
        pytester,
        provider,
        """
import os

@pytest.fixture
def client():
    return openai.OpenAI(api_key=KEY)

@pytest.mark.cassette(PROVIDER, env="OPENAI_BASE_URL")
def test_a(client):
    messages = [{"role": "user", "content": "Ping?"}]
    answer = client.chat.completions.create(model="gpt-4o", messages=messages)
    assert answer.choices[0].message.content == "Pong."

@pytest.mark.cassette(upstream={"one": PROVIDER, "two": PROVIDER}, env={"two": "TWO_URL"})
def test_b(cassette):
    assert os.environ["TWO_URL"] == cassette.urls["two"]
    assert ask(os.environ["TWO_URL"]) == "Pong."

def test_c():
    assert "OPENAI_BASE_URL" not in os.environ and "TWO_URL" not in os.environ
""",
    )

    passed(pytester, 3)


def test_faults_and_options_are_given_to_the_marker(pytester: pytest.Pytester, provider: str) -> None:
    written(
        pytester,
        provider,
        """
@pytest.mark.cassette(PROVIDER, faults="json-error", repeat=True, match=("method", "path"), ignore=("model",), redact=("user",))
def test_a(cassette):
    assert ask(cassette.url) == ""  # the SDK takes an error with status 200 for an empty answer
    assert ask(cassette.url) == ask(cassette.url, "Other?") == "Pong."
""",
    )

    passed(pytester, 1)
    passed(pytester, 1, "--cassette-mode=none")


def test_a_test_that_fails_at_an_error_of_the_provider_is_not_recorded(
    pytester: pytest.Pytester, provider: str
) -> None:
    body = """
@pytest.mark.cassette(PROVIDER)
def test_a(cassette):
    with openai.OpenAI(base_url=cassette.url, api_key=KEY, max_retries=0) as client:
        client.chat.completions.create(model="MODEL", messages=[{"role": "user", "content": "Ping?"}])
"""
    written(pytester, provider, body.replace("MODEL", "error-401"))
    run(pytester).assert_outcomes(failed=1)
    assert not Path("cassettes").exists()

    written(pytester, provider, body.replace("MODEL", "gpt-4o"))
    passed(pytester, 1)


WRONG = {
    "": "the fixture cassette needs @pytest.mark.cassette",
    "@pytest.mark.cassette": "expected the base URL of a provider and cassette(upstream, *, name, match, ignore, redact, pace, "
    "repeat, faults, env), found 0 arguments",
    "@pytest.mark.cassette('http://a', 'http://b')": "found 2 arguments",
    "@pytest.mark.cassette('http://a', record=True)": "found record",
    "@pytest.mark.cassette('api.openai.com')": "expected the provider's base URL, such as",
    "@pytest.mark.cassette('http://a', faults='explode')": "fail: expected one of cut, ",
    "@pytest.mark.cassette('http://a', env={'b': 'B'})": "env: expected the name of a variable",
}


def test_a_wrong_marker_says_what_was_expected(pytester: pytest.Pytester) -> None:
    tests = [f"{marker}\ndef test_{number}(cassette):\n    pass\n" for number, marker in enumerate(WRONG)]
    written(pytester, "", "\n".join(tests))

    result = run(pytester)

    result.assert_outcomes(errors=len(WRONG))
    shown = result.stdout.str()
    assert [message for message in WRONG.values() if message not in shown] == []


def test_a_wrong_mode_is_refused(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\ncassette_mode = twice\n")
    written(pytester, "", "@pytest.mark.cassette('http://a')\ndef test_a(cassette):\n    pass\n")

    run(pytester).stdout.fnmatch_lines(["*cassette_mode: expected one of once, new, all, none, found 'twice'*"])


def test_the_plugin_imports_next_to_nothing() -> None:
    late = ["aiohttp", "hypothesis", "tiktoken", "streamkit.testing.laws", "streamkit.cli", "streamkit.core.stage"]
    code = f"import streamkit.testing.plugin, sys; print([name for name in {late} if name in sys.modules])"

    printed = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True).stdout

    assert printed == "[]\n"
