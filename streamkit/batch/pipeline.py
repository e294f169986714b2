"""Completes a pipeline whose first or last stages were left out."""

import pickle
from collections.abc import Iterable
from typing import Any, TypeAlias, cast, get_args

from streamkit.core.stage import AsyncPipeline, AsyncStage, Pipeline, Stage, parts
from streamkit.errors import PipelineError
from streamkit.events import Event
from streamkit.sse.events import ServerSentEvent
from streamkit.sse.parse import Parse
from streamkit.stages.accumulate import Accumulate
from streamkit.stages.extract import Extract
from streamkit.stages.timing import Timing

AnyStage: TypeAlias = Stage[Any, Any] | AsyncStage[Any, Any]
AnyPipeline: TypeAlias = Pipeline[bytes, Event] | AsyncPipeline[bytes, Event]
_EVENTS = frozenset(get_args(Event))


def whole(pipeline: AnyStage | None = None) -> AnyPipeline:
    """Return the pipeline from bytes to events: missing `Parse`, `Extract`, `Accumulate` and `Timing` are added.

    A pipeline that emits anything but events raises `PipelineError`.
    """
    made: Any = Parse() | Extract() if pipeline is None else _from_bytes(pipeline)
    for needed in (Accumulate, Timing):
        if not any(isinstance(stage, needed) for stage in parts(made)):
            made = made | needed()
    return cast("AnyPipeline", made)


def pickled(pipeline: AnyPipeline) -> bytes:
    """Pickle a pipeline for the workers of an executor. Raises `PipelineError` if it can't be pickled."""
    try:
        return pickle.dumps(pipeline)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise PipelineError(
            "the pipeline can't be sent to worker processes: a function in it must be one of a module, by its name; "
            "a lambda has none"
        ) from error


def unpickled(data: bytes) -> AnyPipeline:
    """Load a pipeline in a worker, and create it once, so that a missing resource fails the batch and not each input."""
    pipeline: AnyPipeline = pickle.loads(data)
    pipeline.fresh()
    return pipeline


def _from_bytes(pipeline: AnyStage) -> Any:
    takes, gives = parts(pipeline)[0].item_types()[0], parts(pipeline)[-1].item_types()[1]
    if gives is not None and not _EVENTS.intersection(gives):
        raise PipelineError(f"expected a pipeline that gives events, this one gives {_names(gives)}")
    if takes and _EVENTS.intersection(takes):
        return Parse() | Extract() | cast("Any", pipeline)
    return Parse() | cast("Any", pipeline) if takes == (ServerSentEvent,) else pipeline


def _names(kinds: Iterable[type]) -> str:
    return ", ".join(kind.__name__ for kind in list(kinds)[:3])
