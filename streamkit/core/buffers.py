"""The amount that each stage and hop of a run buffers, and the reason."""

from typing import Literal, TypeAlias

import msgspec

Unit: TypeAlias = Literal["characters", "items"]


class Buffer(msgspec.Struct, frozen=True):
    """An amount that the stage or hop named `stage` buffers now: `amount` characters or items, depending on `unit`.

    `reason` is what the stage is waiting for; it contains no text of the answer. `released`: the text itself was released
    already, and the stage keeps it to build something from it, such as an object.
    """

    stage: str
    amount: int
    unit: Unit
    reason: str
    released: bool = False
