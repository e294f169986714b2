"""Type errors in pipelines: every line marked `# error`, and no other line."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import assert_type

import streamkit as sk


@sk.stage
def lengths(line: str) -> int:
    return len(line)


@sk.stage
async def later(line: str) -> int:
    return len(line)


@dataclass
class Texts(sk.Stage[sk.Event, str]):
    def feed(self, item: sk.Event) -> Iterable[str]:
        yield ""


@dataclass
class Remote(sk.AsyncStage[sk.Event, sk.Event]):
    async def feed(self, item: sk.Event) -> Iterable[sk.Event]:
        return [item]


right = sk.Parse() | sk.Extract()

# In the wrong order

_ = sk.Extract() | sk.Parse()  # error
_ = sk.Accumulate() | sk.sse.Lines()  # error
_ = sk.Parse() | sk.Accumulate()  # error
_ = sk.sse.Lines() | sk.Extract()  # error
_ = right | right  # error
_ = right | sk.Parse()  # error
_ = right | lengths  # error
_ = right | later  # error
_ = lengths | sk.Parse()  # error
_ = later | sk.Parse()  # error
_ = Remote() | sk.Parse()  # error
_ = sk.Parse() | Remote()  # error
_ = right | Texts() | sk.Accumulate()  # error

# No stage

_ = sk.Parse() | len  # error
_ = sk.Parse() | 1  # error
_ = sk.Parse() | sk.replay("x.sse")  # error

# No source

_ = sk.replay("x.sse") | sk.Accumulate()  # error
_ = sk.replay("x.sse") | sk.Parse() | sk.Accumulate()  # error
_ = right.run(1)  # error
_ = right.open(1)  # error
_ = right.run(sk.replay("x.sse"))  # error
_ = sk.Accumulate().run(["a line"])  # error

# What comes out

assert_type(right, sk.Pipeline[str, str])  # error
text: str = next(right.run([]))  # error
_ = (right | Remote()).run([])  # error


@dataclass
class WrongItem(sk.Stage[str, int]):
    def feed(self, item: int) -> Iterable[int]:  # error
        yield item


@dataclass
class WrongResult(sk.Stage[str, int]):
    def feed(self, item: str) -> Iterable[str]:  # error
        yield item


@dataclass
class NotAsync(sk.AsyncStage[str, str]):
    def feed(self, item: str) -> Iterable[str]:  # error
        yield item


@dataclass
class Async(sk.Stage[str, str]):
    async def feed(self, item: str) -> Iterable[str]:  # error
        return [item]
