"""Checks of an installation that has only the wheels and their dependencies: run there, outside of any checkout.

    python -I smoke.py VERSION

Nothing but the standard library and what is installed; no network. Prints what was checked, and raises at the first failure.
"""

import asyncio
import importlib
import json
import pkgutil
import subprocess
import sys
import tempfile
from importlib.metadata import entry_points, version
from pathlib import Path

OPTIONAL = {"botocore", "starlette", "hypothesis", "pytest", "pyarrow", "trio"}
"""Packages of extras, and of frameworks that whoever uses them has."""
ANSWER = "".join(
    f'data: {{"choices":[{{"index":0,"delta":{{"content":"{text}"}}}}]}}\n\n' for text in ("blue her", "on 42, 1, 2, 3")
)
END = 'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


def check_package(expected: str) -> None:
    import streamkit

    assert version("streamkit-llm") == streamkit.__version__ == expected
    assert Path(streamkit.__file__).is_relative_to(sys.prefix), streamkit.__file__
    assert Path(streamkit.__file__).with_name("py.typed").is_file()


def check_modules() -> None:
    """Every module can be imported, but for those that need a package of an extra."""
    import streamkit

    lacking: set[str] = set()
    for module in pkgutil.walk_packages(streamkit.__path__, "streamkit."):
        if module.name == "streamkit.__main__":
            continue
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            lacking.add(str(error.name).partition(".")[0])
    assert lacking <= OPTIONAL, lacking


def check_pipeline() -> None:
    import streamkit as sk

    rule = sk.Rule("secret", phrases=("blue heron 42",), replacement="[secret]")
    pipeline = sk.Parse() | sk.Extract() | sk.Moderate(rule) | sk.Accumulate() | sk.Count("gpt-4o") | sk.Timing()
    events = list(pipeline.run((ANSWER + END).encode()))
    (completion,) = [event for event in events if isinstance(event, sk.Completion)]
    (count,) = [event for event in events if isinstance(event, sk.TokenCount)]
    assert completion.text == "[secret], 1, 2, 3"
    # The table comes with streamkit-encodings, so that nothing is fetched.
    assert (count.encoding, count.tokens, count.exact) == ("o200k_base", 11, True), count
    assert events[-1] == sk.StreamEnd("completed", saw_done=True)
    emitted = list((pipeline | sk.Emit("anthropic")).run((ANSWER + END).encode()))
    assert emitted[-1].event == "message_stop"


async def check_http() -> None:
    import streamkit as sk
    from streamkit.cli.provider import Provider, serve

    async with serve(Provider(first_token_seconds=0, token_seconds=0)) as url:
        body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "Count to 3"}]}
        stream = sk.http.post(f"{url}/v1/chat/completions", json=body) | sk.Parse() | sk.Extract() | sk.Accumulate()
        assert await stream.text() == "\n\n1, 2, 3."


def check_commands() -> None:
    def run(*arguments: str, code: int = 0) -> str:
        command = [str(Path(sys.executable).with_name("streamkit")), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == code, (arguments, done.returncode, done.stdout, done.stderr)
        return done.stdout

    with tempfile.TemporaryDirectory() as folder:
        answer, rules = Path(folder, "a.sse"), Path(folder, "rules.toml")
        answer.write_text(ANSWER + END)
        rules.write_text('[[rule]]\ncategory = "secret"\nphrases = ["blue heron 42"]\n')
        assert run("run", "demo", "1+1") == "2\n"
        assert run("replay", str(answer), "--rules", str(rules)) == "[redacted], 1, 2, 3\n"
        run("moderate", str(answer), "--rules", str(rules), code=7)
        assert json.loads(run("inspect", str(answer), "--json"))["dialect"] == "openai"
        results = Path(folder, "results.jsonl")
        run("batch", str(answer), "--out", str(results), "--workers", "1")
        assert json.loads(results.read_text())["end"] == "completed"
        assert json.loads(run("demo", "--fast", "--json"))["tokens"] == {"counted": 300, "reported": 301}
        run("doctor")
        assert {each["state"] for each in json.loads(run("plugins", "--json"))} == {"ok"}
        assert "_ARGCOMPLETE" in run("completion", "bash")


def check_plugins() -> None:
    from streamkit_otel import Trace
    from streamkit_pii import redact

    import streamkit as sk

    said = [sk.TextDelta("Call 650-25"), sk.TextDelta("3-0000.")]
    released = [event.text for event in redact(countries=("US",)).run(said) if isinstance(event, sk.TextDelta)]
    assert "".join(released) == "Call [phone]."
    traced = sk.Parse() | sk.Extract() | Trace(model="m") | sk.Accumulate()
    assert asyncio.run(traced.open((ANSWER + END).encode()).text()) == "blue heron 42, 1, 2, 3"
    count = sk.Count("gpt-4o", prices="genai", prompt=9)
    events = list((sk.Parse() | sk.Extract() | count).run((ANSWER + END).encode()))
    (report,) = [event for event in events if isinstance(event, sk.UsageReport)]
    assert report.cost is not None
    assert report.cost > 0
    assert {entry.name for entry in entry_points(group="streamkit.stages")} >= {"otel", "pii"}


def main() -> None:
    check_package(sys.argv[1])
    check_pipeline()
    asyncio.run(check_http())
    check_plugins()
    check_modules()
    check_commands()


if __name__ == "__main__":
    main()
