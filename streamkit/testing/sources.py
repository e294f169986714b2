"""Scripted sources, on a clock that the test advances."""

from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, TypeVar, cast

import anyio
import anyio.lowlevel
import msgspec

from streamkit import Source

T = TypeVar("T")


class VirtualClock:
    """A clock that only changes with `advance`. Calling it returns the time in seconds."""

    def __init__(self, now: float = 0.0) -> None:
        self._now = now

    def __call__(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        """Advance the clock."""
        self._now += seconds


class Wait(msgspec.Struct, frozen=True):
    """A script step: advance the source's clock by `seconds`, without waiting in real time."""

    seconds: float


class _Hang:
    def __repr__(self) -> str:
        return "HANG"


HANG: Final = _Hang()
"""A script step: block until the read is cancelled."""


class Scripted(Source[T], Generic[T]):
    """A source that follows a script. Each step is an item, a list of items for one read, an exception to raise, a `Wait`,
    `HANG`, or a function to call.

    `clock` may be shared with other sources. `opened` and `closed` count the calls; `left` has the remaining steps.
    """

    def __init__(
        self, *steps: "T | list[T] | Exception | Wait | Callable[[], object] | _Hang", clock: VirtualClock | None = None
    ) -> None:
        self.clock = clock or VirtualClock()
        self.opened = 0
        self.closed = 0
        self.left = list(steps)

    def now(self) -> float:
        return self.clock()

    async def open(self) -> None:
        self.opened += 1

    async def read(self) -> Sequence[T]:
        await anyio.lowlevel.checkpoint()
        while self.left:
            step: Any = self.left.pop(0)
            match step:
                case Wait(seconds):
                    self.clock.advance(seconds)
                case Exception():
                    raise step
                case _Hang():
                    await anyio.sleep_forever()
                case list():
                    # An empty list would mean the end of the input.
                    if burst := cast("list[T]", step):
                        return burst
                case _ if callable(step):
                    step()
                case _:
                    return (cast(T, step),)
        return ()

    async def close(self) -> None:
        self.closed += 1
