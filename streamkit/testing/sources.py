"""Scripted sources, on a clock that is advanced by the test."""

from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, TypeVar, cast

import anyio
import anyio.lowlevel
import msgspec

from streamkit import Source

T = TypeVar("T")


class VirtualClock:
    """A clock that stands at `now` until `advance`. Called, it returns the time in seconds."""

    def __init__(self, now: float = 0.0) -> None:
        self._now = now

    def __call__(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._now += seconds


class Wait(msgspec.Struct, frozen=True):
    """A step of a script: `seconds` pass on the source's clock. Nothing waits in real time."""

    seconds: float


class _Hang:
    def __repr__(self) -> str:
        return "HANG"


HANG: Final = _Hang()
"""A step of a script: nothing more comes, until the read is cancelled."""


class Scripted(Source[T], Generic[T]):
    """Give what the steps say: an item, a list of items as one burst, an exception to raise, a `Wait`, `HANG`, or a function
    to call.

    `clock` is one to share with others. `opened` and `closed` count the calls, `left` has the steps that were not come to.
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
                    # An empty burst would be the end.
                    if burst := cast("list[T]", step):
                        return burst
                case _ if callable(step):
                    step()
                case _:
                    return (cast(T, step),)
        return ()

    async def close(self) -> None:
        self.closed += 1
