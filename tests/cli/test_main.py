"""The command as a user runs it: real processes, real requests, real signals."""

from __future__ import annotations

import http.client
import json
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import streamkit as sk
from streamkit.cli import demo, serve_demo
from streamkit.cli.main import main

STREAMKIT = (sys.executable, "-W", "error", "-c", "import sys; from streamkit.cli.main import main; sys.exit(main())")
has_signals = pytest.mark.skipif(sys.platform == "win32", reason="there a signal ends a process at once")


@dataclass
class Server:
    """A running `streamkit serve-demo`."""

    process: subprocess.Popen[str]
    told: list[str]

    @property
    def url(self) -> str:
        return self.told[0]

    @contextmanager
    def post(self, url: str, body: str) -> Generator[http.client.HTTPResponse]:
        """Send the request, and yield the response once its head has arrived."""
        parts = urlsplit(url)
        assert parts.hostname
        with closing(http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)) as connection:
            connection.request("POST", parts.path, body)
            with connection.getresponse() as response:
                yield response

    def chat(self, text: str, **options: object) -> dict[str, Any]:
        body = json.dumps({"messages": [{"role": "user", "content": text}], **options})
        with self.post(f"{self.url}/chat/completions", body) as response:
            answer: dict[str, Any] = json.loads(response.read())
        return answer

    def end(self, number: int) -> tuple[int, str]:
        """Send the signal; return the exit code and the output on stderr."""
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=30)
        return self.process.returncode, errors


@contextmanager
def served(*options: str) -> Generator[Server]:
    """Run `streamkit serve-demo`, and yield it once it has printed its URL."""
    pipe = subprocess.PIPE
    with subprocess.Popen([*STREAMKIT, "serve-demo", *options], stdout=pipe, stderr=pipe, text=True) as process:
        try:
            assert process.stdout
            told = list(iter(process.stdout.readline, "Ctrl-C ends it.\n"))
            yield Server(process, [line.strip() for line in told])
        finally:
            process.kill()


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--version"])

    assert left.value.code == 0
    assert capsys.readouterr().out == f"streamkit {sk.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("--no", "the following arguments are required: COMMAND"),
        ("sing", "invalid choice: 'sing'"),
        ("demo --slow", "unrecognized arguments: --slow"),
        ("serve-demo --port 65536", "argument --port: expected 0 to 65535, found '65536'"),
        ("serve-demo --port http", "argument --port: expected 0 to 65535, found 'http'"),
        ("serve-demo --token -1", "argument --token: expected 0 to 3600 seconds, found '-1'"),
        ("serve-demo --first-token nan", "argument --first-token: expected 0 to 3600 seconds, found 'nan'"),
        ("serve-demo --token soon", "argument --token: expected 0 to 3600 seconds, found 'soon'"),
        ("serve-demo --recordings nowhere", "argument --recordings: expected a folder, found 'nowhere'"),
    ],
)
def test_a_wrong_argument_is_named_and_the_exit_code_is_2(
    arguments: str, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments.split())

    assert left.value.code == 2
    assert complaint in capsys.readouterr().err


def test_without_arguments_the_help_is_shown_and_the_exit_code_is_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([])
    shown = capsys.readouterr()
    with pytest.raises(SystemExit):
        main(["--help"])

    assert (left.value.code, shown.out) == (2, "")
    assert shown.err == capsys.readouterr().out


def test_an_error_of_streamkit_is_one_line_on_stderr_and_the_exit_code_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> object:
        raise sk.errors.PluginError(f"the table of {name} is not installed")

    monkeypatch.setattr(demo, "load_encoding", missing)

    assert main(["demo"]) == 1
    assert capsys.readouterr() == ("", "streamkit: the table of cl100k_base is not installed\n")


def test_ctrl_c_in_the_demo_is_no_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(name: str) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "load_encoding", interrupted)

    assert main(["demo"]) == 130
    assert capsys.readouterr() == ("", "\n")


def test_a_port_that_is_taken_is_one_line_on_stderr_and_the_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        assert main(["serve-demo", "--port", str(taken.getsockname()[1])]) == 1

    output, errors = capsys.readouterr()
    assert output == ""
    assert re.fullmatch(r"streamkit: .*address.*\n", errors)


@has_signals
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_serve_demo_answers_until_a_signal_and_then_ends_with_0(number: int) -> None:
    with served("--first-token", "0", "--token", "0") as server:
        answer = server.chat("What's 1+1? Answer in one word.")

        assert answer["choices"][0]["message"]["content"] == "2"
        assert server.end(number) == (0, "")


@has_signals
def test_serve_demo_ends_with_0_also_while_an_answer_is_under_way() -> None:
    with served("--first-token", "0", "--token", "3600") as server:
        body = '{"prompt": "1,2,3,", "stream": true}'
        with server.post(f"{server.url}/completions", body) as response:
            assert response.readline().startswith(b"data: {")

            assert server.end(signal.SIGTERM) == (0, "")


@has_signals
def test_serve_demo_writes_its_address_as_json_and_nothing_else() -> None:
    command = [*STREAMKIT, "serve-demo", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            address = json.loads(process.stdout.readline())
            process.send_signal(signal.SIGTERM)
            output, errors = process.communicate(timeout=30)
        finally:
            process.kill()

    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/v1", address["url"])
    assert (process.returncode, output, errors) == (0, "", "")


def test_the_line_to_try_can_be_pasted() -> None:
    with served("--first-token", "0", "--token", "0") as server:
        curl = next(line for line in server.told if line.startswith("curl "))
        _, _, url, _, header, _, body = shlex.split(curl)
        with server.post(url, body) as response:
            deltas = re.findall(r'"content":"([^"]*)"', response.read().decode())

    assert header == "content-type: application/json"
    assert "".join(deltas) == r"\n\n1, 2, 3, 4, 5, 6, 7, 8, 9, 10."


def test_serve_demo_replays_the_recordings_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "short.sse").write_bytes(b"data: [DONE]\n\n")

    with served("--recordings", str(tmp_path)) as server:
        place = next(line for line in server.told if line.startswith("Recordings: ")).split()[1]
        with server.post(f"{place.replace('NAME', 'short')}/chat/completions", "{}") as response:
            assert response.read() == b"data: [DONE]\n\n"


def test_the_same_seed_gives_the_same_ids() -> None:
    def ids() -> list[str]:
        with served("--first-token", "0", "--token", "0", "--seed", "7") as server:
            return [server.chat("1+1")["id"] for _ in range(2)]

    first, second = ids()
    assert first != second
    assert ids() == [first, second]


@has_signals
def test_after_serve_demo_the_signals_do_what_they_did_before(monkeypatch: pytest.MonkeyPatch) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    def stop(root: str, provider: object, *, as_json: bool) -> None:
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(serve_demo, "_announce", stop)

    assert main(["serve-demo"]) == 0
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
