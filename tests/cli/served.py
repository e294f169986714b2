"""A provider in a thread, for tests of commands, which run their own event loops."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from anyio.from_thread import start_blocking_portal

from streamkit.cli.provider import Provider, serve


@contextmanager
def served(provider: Provider) -> Generator[str]:
    """Serve in a thread, and yield the base URL."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(serve(provider)) as root:
        yield f"{root}/v1"
