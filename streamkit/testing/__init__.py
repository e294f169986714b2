"""Test helpers for authors of stages and applications: the laws as checks, scripted and faulty streams, and cassettes.

    from streamkit import TextDelta
    from streamkit.testing import check_stage

    def test_my_stage_keeps_the_laws() -> None:
        check_stage(MyStage(), [TextDelta("some text"), TextDelta(" in pieces")])

pytest loads `streamkit.testing.plugin` through its entry point: the marker and fixture `cassette`, and further fixtures.
`streamkit.testing.strategies` has strategies for hypothesis, which must be installed.
"""

from typing import TYPE_CHECKING, Final

from streamkit.core.lazy import lazily

if TYPE_CHECKING:
    from streamkit.testing import strategies as strategies
    from streamkit.testing.cassettes.cassette import Cassette as Cassette
    from streamkit.testing.cassettes.exchange import ReceivedRequest as ReceivedRequest
    from streamkit.testing.emitters import check_emitter as check_emitter
    from streamkit.testing.laws import HOP_LAWS as HOP_LAWS
    from streamkit.testing.laws import LAWS as LAWS
    from streamkit.testing.laws import Unknown as Unknown
    from streamkit.testing.laws import check_stage as check_stage
    from streamkit.testing.laws import joined as joined
    from streamkit.testing.leaks import no_leaks as no_leaks
    from streamkit.testing.logs import LOG_CHECKS as LOG_CHECKS
    from streamkit.testing.logs import check_log as check_log
    from streamkit.testing.sources import HANG as HANG
    from streamkit.testing.sources import Scripted as Scripted
    from streamkit.testing.sources import VirtualClock as VirtualClock
    from streamkit.testing.sources import Wait as Wait

__all__ = [
    "HANG",
    "HOP_LAWS",
    "LAWS",
    "LOG_CHECKS",
    "Cassette",
    "ReceivedRequest",
    "Scripted",
    "Unknown",
    "VirtualClock",
    "Wait",
    "check_emitter",
    "check_log",
    "check_stage",
    "joined",
    "no_leaks",
    "strategies",
]

# pytest imports this package in every run, so the modules are imported lazily.
_WHERE: Final = {
    "HANG": "streamkit.testing.sources:HANG",
    "HOP_LAWS": "streamkit.testing.laws:HOP_LAWS",
    "LAWS": "streamkit.testing.laws:LAWS",
    "LOG_CHECKS": "streamkit.testing.logs:LOG_CHECKS",
    "Cassette": "streamkit.testing.cassettes.cassette:Cassette",
    "ReceivedRequest": "streamkit.testing.cassettes.exchange:ReceivedRequest",
    "Scripted": "streamkit.testing.sources:Scripted",
    "Unknown": "streamkit.testing.laws:Unknown",
    "VirtualClock": "streamkit.testing.sources:VirtualClock",
    "Wait": "streamkit.testing.sources:Wait",
    "check_emitter": "streamkit.testing.emitters:check_emitter",
    "check_log": "streamkit.testing.logs:check_log",
    "check_stage": "streamkit.testing.laws:check_stage",
    "joined": "streamkit.testing.laws:joined",
    "no_leaks": "streamkit.testing.leaks:no_leaks",
    "strategies": "streamkit.testing.strategies",
}
# Hidden from type checkers: with a module `__getattr__` they would accept any name.
if not TYPE_CHECKING:
    __getattr__, __dir__ = lazily(__name__, _WHERE)
