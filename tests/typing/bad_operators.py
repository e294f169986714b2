"""Type errors with operators: every line marked `# error`, and no other line."""

import streamkit as sk
from streamkit import ops

events = sk.Parse() | sk.Extract()


def length(text: str) -> int:
    return len(text)


_ = events | ops.Map(length)  # error
_ = ops.Map(length) | sk.Parse()  # error
_ = events | ops.Select(sk.Usage) | sk.Parse()  # error
_ = events | ops.Select(int)  # error
_ = sk.Parse() | ops.Smooth()  # error
_ = sk.Parse() | ops.StopAt("END")  # error
_ = events | ops.Batch[sk.Event](3) | sk.Accumulate()  # error
_ = events | ops.SlidingWindow[sk.Event](3) | sk.Accumulate()  # error
_ = ops.Map()  # error
_ = ops.Map("length")  # error
_ = ops.Take("3")  # error
_ = ops.StopAt(3)  # error
_ = ops.Smooth(3)  # error
_ = ops.Choices("0")  # error
_ = ops.Switch(length, {})  # error
