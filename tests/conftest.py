"""Fixtures of all tests: the recordings, if present, and the event loops of the core's tests."""

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

SHARED = Path(__file__).parents[2] / "shared"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the folder ../shared is not here")

# `nohup` and a shell's background jobs ignore signals, and processes started by tests would inherit that; a signal that has a
# handler, even an empty one, has its default action in a new program.
for name in ("SIGINT", "SIGHUP"):
    if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) is signal.SIG_IGN:
        signal.signal(getattr(signal, name), lambda *_: None)

# The same examples each time, so that a run that fails fails again; `make fuzz` tries others, and many more.
settings.register_profile("steady", derandomize=True, deadline=None)
if "FUZZ_EXAMPLES" not in os.environ:
    settings.load_profile("steady")


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Every test marked `anyio` runs on both event loops."""
    return str(request.param)
