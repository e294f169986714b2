"""The engine and its drivers, stages, sources, checkpoints. Nothing here depends on a provider's format."""

from typing import TYPE_CHECKING, Final

from streamkit.core.lazy import lazily

if TYPE_CHECKING:
    from streamkit.core.buffers import Buffer as Buffer
    from streamkit.core.engine import StageMetrics as StageMetrics
    from streamkit.core.run import Run as Run
    from streamkit.core.source import Deadlines as Deadlines
    from streamkit.core.source import Source as Source
    from streamkit.core.stage import AsyncPipeline as AsyncPipeline
    from streamkit.core.stage import AsyncStage as AsyncStage
    from streamkit.core.stage import Pipeline as Pipeline
    from streamkit.core.stage import Stage as Stage
    from streamkit.core.stage import cut_short as cut_short
    from streamkit.core.stream import Stream as Stream

__all__ = [
    "AsyncPipeline",
    "AsyncStage",
    "Buffer",
    "Deadlines",
    "Pipeline",
    "Run",
    "Source",
    "Stage",
    "StageMetrics",
    "Stream",
    "cut_short",
]

_WHERE: Final = {
    "AsyncPipeline": "streamkit.core.stage:AsyncPipeline",
    "AsyncStage": "streamkit.core.stage:AsyncStage",
    "Deadlines": "streamkit.core.source:Deadlines",
    "Pipeline": "streamkit.core.stage:Pipeline",
    "Run": "streamkit.core.run:Run",
    "Source": "streamkit.core.source:Source",
    "Stage": "streamkit.core.stage:Stage",
    "Buffer": "streamkit.core.buffers:Buffer",
    "StageMetrics": "streamkit.core.engine:StageMetrics",
    "Stream": "streamkit.core.stream:Stream",
    "cut_short": "streamkit.core.stage:cut_short",
}
# Hidden from type checkers, which would otherwise accept any name.
if not TYPE_CHECKING:
    __getattr__, __dir__ = lazily(__name__, _WHERE)
