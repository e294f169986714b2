"""Operators: small stages, available as `streamkit.ops`.

They are classes like all stages, not functions such as `map(f)`. The same name is therefore used in code, in a `repr`, in
pickles, in pipeline files and in `stream.stage(ops.Smooth)`, and no builtin is shadowed.

    each        Map, FlatMap, Filter, Scan, Tap: operate on each item
    counted     Take, TakeUntil, Skip, Batch, SlidingWindow: limit and group items by number
    timed       Debounce, Throttle: limit items by time
    chosen      Select, Choices, Switch: select and route events
    pieces      Smooth, Sentences, Coalesce: split and join text
    stop        StopAt: stop sequences
    sentence    sentence boundaries

A `StreamEnd` is not an item: it passes through all operators and is always last.
"""

from streamkit.core.naming import named
from streamkit.operators.chosen import Choices, Select, Switch
from streamkit.operators.counted import Batch, Skip, SlidingWindow, Take, TakeUntil
from streamkit.operators.each import Filter, FlatMap, Map, Scan, Tap
from streamkit.operators.pieces import Coalesce, Sentences, Smooth
from streamkit.operators.stop import StopAt
from streamkit.operators.timed import Debounce, Throttle

__all__ = [
    "Batch",
    "Choices",
    "Coalesce",
    "Debounce",
    "Filter",
    "FlatMap",
    "Map",
    "Scan",
    "Select",
    "Sentences",
    "Skip",
    "SlidingWindow",
    "Smooth",
    "StopAt",
    "Switch",
    "Take",
    "TakeUntil",
    "Tap",
    "Throttle",
    "named",
]
