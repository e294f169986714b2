"""Type errors with hops: every line marked `# error`, and no other line."""

import streamkit as sk
from streamkit import hops

events = sk.Parse() | sk.Extract()


def shout(delta: sk.TextDelta) -> sk.TextDelta:
    return delta


async def size(text: str) -> int:
    return len(text)


_ = hops.ConcurrentMap(shout)  # error
_ = events | hops.ConcurrentMap(size)  # error (pyright, mypy): the others don't solve the overloads of a generic class
_ = sk.Parse() | hops.ConcurrentMap(size)  # error
_ = hops.tee(events.open(b"")) | sk.Accumulate()  # error
