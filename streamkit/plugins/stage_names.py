"""Stages by name: streamkit's own, plugins (entry points `streamkit.stages`), and any others as `package.module:name`."""

from typing import Any

from streamkit import plugins
from streamkit.core.naming import resolved
from streamkit.errors import PipelineError
from streamkit.plugins.entry_points import BY_MODULE, unknown

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
"""The locations of streamkit's own stages, as `module:name`."""


def stage_named(name: str) -> Any:
    """Return the object of that name: a stage class, a stage, or a function.

    An unknown name raises `PipelineError`, and a plugin that can't be loaded `PluginError`.
    """
    if place := BUILT_IN.get(name):
        return resolved(place)
    if ":" in name:
        return resolved(name)
    if (found := plugins.find("stages", name)) is None:
        raise PipelineError(unknown("stages", name, BUILT_IN, also=BY_MODULE))
    return found
