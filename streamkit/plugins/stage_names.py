"""Stages by name: streamkit's own, installed packages' (entry points `streamkit.stages`), and anyone's by module."""

from typing import Any

from streamkit import plugins
from streamkit.core.naming import resolved
from streamkit.errors import PipelineError
from streamkit.plugins.entry_points import unknown

_ROOMS = {
    "streamkit.sse.lines": ("Lines",),
    "streamkit.sse.encode": ("Encode",),
    "streamkit.sse.parse": ("Parse",),
    "streamkit.stages.extract": ("Extract",),
    "streamkit.stages.moderate": ("Moderate",),
    "streamkit.stages.accumulate": ("Accumulate",),
    "streamkit.stages.classify": ("Classify",),
    "streamkit.stages.structured": ("Structured",),
    "streamkit.stages.count": ("Count",),
    "streamkit.stages.budget": ("Budget",),
    "streamkit.stages.timing": ("Timing",),
    "streamkit.emitters.emit": ("Emit",),
    "streamkit.operators.each": ("Filter", "FlatMap", "Map", "Scan", "Tap"),
    "streamkit.operators.counted": ("Batch", "Skip", "Take", "TakeUntil", "SlidingWindow"),
    "streamkit.operators.timed": ("Debounce", "Throttle"),
    "streamkit.operators.chosen": ("Choices", "Select", "Switch"),
    "streamkit.operators.pieces": ("Coalesce", "Sentences", "Smooth"),
    "streamkit.operators.stop": ("StopAt",),
    "streamkit.hops.stages": ("ConcurrentMap", "FromGenerator", "GroupBy", "Latest", "Prefetch", "RateLimit"),
}
BUILT_IN: dict[str, str] = {name: f"{room}:{name}" for room, names in _ROOMS.items() for name in names}
"""streamkit's own stages: where each is, imported when it is asked for."""


def stage_named(name: str) -> Any:
    """The class of stages, or the stage that a function has become, of that name.

    An unknown name raises `PipelineError`, and a package that can't be loaded `PluginError`.
    """
    if place := BUILT_IN.get(name):
        return resolved(place)
    if ":" in name:
        return resolved(name)
    if (found := plugins.find("stages", name)) is None:
        raise PipelineError(unknown("stages", name, BUILT_IN, by_module=True))
    return found
