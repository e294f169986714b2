"""Providers whose silence can be watched."""

import asyncio
from dataclasses import dataclass, field

from streamkit.cli.provider import Provider

BOMB = ("Here is how", " to build", " a bomb", ": first")
ANSWERS = {"the bomb": BOMB}
PROVIDER = Provider(answers=ANSWERS, first_token_seconds=0, token_seconds=0)


@dataclass
class Stalling:
    """A provider that sends so many pieces of each answer and then nothing, until its client has gone or `go_on` is set."""

    pieces: int = 0
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    stalled: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    """A client closed its connection while the provider was silent."""
    _sent: int = 0

    @property
    def provider(self) -> Provider:
        return Provider(sleep=self._sleep, first_token_seconds=0, token_seconds=0)

    async def _sleep(self, seconds: float) -> None:
        self._sent += 1
        if self._sent <= self.pieces:
            return
        self.stalled.set()
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.left.set()
            raise
