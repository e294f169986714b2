"""The amounts that stages and hops of a run buffer, and why."""

from typing import Literal, TypeAlias

import msgspec

Unit: TypeAlias = Literal["characters", "items"]


class Buffer(msgspec.Struct, frozen=True):
    """One amount that a `stage` or hop of that name buffers now: `amount` characters or items, as `unit` says.

    `reason` says what it waits for, and has no text of the answer.
    `released`: the text itself was released, and the amount is that of which something is still made, such as an object.
    """

    stage: str
    amount: int
    unit: Unit
    reason: str
    released: bool = False
