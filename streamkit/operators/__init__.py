"""Small stages between the large ones, as `streamkit.ops`.

They are classes as all stages are, and not functions such as `map(f)`: what one writes is then what is shown, compared,
pickled, asked for with `stream.stage(ops.Smooth)` and named in a file, and no builtin is hidden.

    each        Map, FlatMap, Filter, Scan, Tap: what is done to each item
    counted     Take, TakeUntil, Skip, Batch, Window: how many
    timed       Debounce, Throttle: how often
    chosen      Select, Choices, Switch: which
    pieces      Smooth, Sentences, Coalesce: text in other pieces
    stop        StopAt: stop sequences
    sentence    where a sentence ends

A `StreamEnd` is no item: it passes all of them, and comes last.
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
