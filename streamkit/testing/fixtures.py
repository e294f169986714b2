"""Fixtures for pytest: `pytest_plugins = ["streamkit.testing.fixtures"]` in a `conftest.py`."""

from collections.abc import Iterator

import pytest

from streamkit.testing.leaks import no_leaks
from streamkit.testing.sources import VirtualClock


@pytest.fixture
def nothing_is_left() -> Iterator[None]:
    """Fail the test if it leaves a task or an open file behind; see `no_leaks`."""
    with no_leaks():
        yield


@pytest.fixture
def virtual_clock() -> VirtualClock:
    """A clock that stands still until it is advanced."""
    return VirtualClock()
