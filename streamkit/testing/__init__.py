"""The kit for people who write stages: it holds a stage to the laws, and makes streams to try it on.

    from streamkit import TextDelta
    from streamkit.testing import check_stage

    def test_my_stage_keeps_the_laws() -> None:
        check_stage(MyStage(), [TextDelta("some text"), TextDelta(" in pieces")])

`pytest_plugins = ["streamkit.testing.fixtures"]` in a `conftest.py` brings the fixtures; `streamkit.testing.strategies` has
strategies for hypothesis, if that is installed.
"""

from streamkit.testing.emitters import check_emitter
from streamkit.testing.laws import LAWS, Unknown, check_stage, joined
from streamkit.testing.leaks import no_leaks
from streamkit.testing.sources import HANG, Scripted, VirtualClock, Wait

__all__ = [
    "HANG",
    "LAWS",
    "Scripted",
    "Unknown",
    "VirtualClock",
    "Wait",
    "check_emitter",
    "check_stage",
    "joined",
    "no_leaks",
]
