"""Composable stages between a language model's event stream and an application.

    import streamkit as sk

    pipeline = sk.Parse() | sk.Extract() | sk.Moderate(rules) | sk.Accumulate() | sk.Count("gpt-4o")

    async with sk.http.post(url, json=body, headers=headers) | pipeline as events:
        async for event in events: ...

Every name is imported on first use, so `import streamkit` itself costs almost nothing.

Where things live:

    errors, latency         exceptions; percentiles and stalls
    completion, events      the assembled answer and its end reasons; the events that a pipeline returns
    core                    the engine and its drivers, stages, sources, checkpoints
    plugins (pipelines)     entry points, stages by name, pipeline files
    sse                     parse bytes into lines and server-sent events, and encode events
    structured              incomplete JSON, and JSON validated as the caller's types
    tokens                  exact token counts of streamed text and of prompts, and prices
    dialects                providers' wire formats: events of a stream, and the non-streaming response
    sources (http, ws)      HTTP, WebSockets, feeds, recordings, streams of other clients
    moderation (rules)      rules, matchers, detectors, classifiers, and the buffer of undecided text
    stages                  Extract, Moderate, Classify, Accumulate, Structured, Count, Budget, Timing
    operators (ops)         small stages: map, take, batch, smooth, stop sequences, …
    hops                    every task boundary: race, merge, fallback, prefetch, …
    emitters                write events in the wire formats of clients
    requests                translate requests from one API's format to another's
    relay                   streams stored in a log, which survive a lost connection or process
    sinks                   responses to clients, for aiohttp and for Starlette or FastAPI
    display                 show an answer while it arrives (show); compare streaming with waiting, as a table and as SVG
    batch                   one pipeline over many recordings, in processes or on a cluster
    cli, __main__           the command line and the embedded provider
    testing                 the laws as checks for any stage, scripted sources, leak detection
"""

from typing import TYPE_CHECKING, Final

from streamkit.core.lazy import lazily

if TYPE_CHECKING:
    from streamkit import batch as batch
    from streamkit import core as core
    from streamkit import dialects as dialects
    from streamkit import display as display
    from streamkit import emitters as emitters
    from streamkit import errors as errors
    from streamkit import events as events
    from streamkit import hops as hops
    from streamkit import latency as latency
    from streamkit import moderation as moderation
    from streamkit import operators as ops
    from streamkit import plugins as plugins
    from streamkit import relay as relay
    from streamkit import requests as requests
    from streamkit import sinks as sinks
    from streamkit import sources as sources
    from streamkit import sse as sse
    from streamkit import structured as structured
    from streamkit import tokens as tokens
    from streamkit.completion import Completion as Completion
    from streamkit.core.function import stage as stage
    from streamkit.core.source import Source as Source
    from streamkit.core.stage import AsyncPipeline as AsyncPipeline
    from streamkit.core.stage import AsyncStage as AsyncStage
    from streamkit.core.stage import Pipeline as Pipeline
    from streamkit.core.stage import Stage as Stage
    from streamkit.core.stream import Stream as Stream
    from streamkit.display.live import show as show
    from streamkit.emitters.emit import Emit as Emit
    from streamkit.errors import PipelineError as PipelineError
    from streamkit.errors import ProviderError as ProviderError
    from streamkit.errors import SourceError as SourceError
    from streamkit.errors import StatusError as StatusError
    from streamkit.errors import StreamkitError as StreamkitError
    from streamkit.events import Blocked as Blocked
    from streamkit.events import Event as Event
    from streamkit.events import Finish as Finish
    from streamkit.events import ReasoningDelta as ReasoningDelta
    from streamkit.events import Redacted as Redacted
    from streamkit.events import RefusalDelta as RefusalDelta
    from streamkit.events import StreamEnd as StreamEnd
    from streamkit.events import StructuredOutput as StructuredOutput
    from streamkit.events import TextDelta as TextDelta
    from streamkit.events import Timings as Timings
    from streamkit.events import TokenCount as TokenCount
    from streamkit.events import ToolCallDelta as ToolCallDelta
    from streamkit.events import Usage as Usage
    from streamkit.events import UsageReport as UsageReport
    from streamkit.moderation import rule_file as rules
    from streamkit.moderation.rule import Rule as Rule
    from streamkit.plugins import pipeline_files as pipelines
    from streamkit.sources import http as http
    from streamkit.sources import ws as ws
    from streamkit.sources.feed import feed as feed
    from streamkit.sources.record import record as record
    from streamkit.sources.replay import replay as replay
    from streamkit.sse.parse import Parse as Parse
    from streamkit.stages.accumulate import Accumulate as Accumulate
    from streamkit.stages.budget import Budget as Budget
    from streamkit.stages.classify import Classify as Classify
    from streamkit.stages.count import Count as Count
    from streamkit.stages.extract import Extract as Extract
    from streamkit.stages.moderate import Moderate as Moderate
    from streamkit.stages.structured import Structured as Structured
    from streamkit.stages.timing import Timing as Timing

__version__ = "0.1.0"
__all__ = [
    "Accumulate",
    "AsyncPipeline",
    "AsyncStage",
    "Blocked",
    "Budget",
    "Classify",
    "Completion",
    "Count",
    "Emit",
    "Event",
    "Extract",
    "Finish",
    "Moderate",
    "Parse",
    "Pipeline",
    "PipelineError",
    "ProviderError",
    "ReasoningDelta",
    "Redacted",
    "RefusalDelta",
    "Rule",
    "Source",
    "SourceError",
    "Stage",
    "StatusError",
    "Stream",
    "StreamEnd",
    "StreamkitError",
    "Structured",
    "StructuredOutput",
    "TextDelta",
    "Timing",
    "Timings",
    "TokenCount",
    "ToolCallDelta",
    "Usage",
    "UsageReport",
    "batch",
    "core",
    "dialects",
    "display",
    "emitters",
    "errors",
    "events",
    "feed",
    "hops",
    "http",
    "latency",
    "moderation",
    "ops",
    "pipelines",
    "plugins",
    "record",
    "relay",
    "replay",
    "requests",
    "rules",
    "show",
    "sinks",
    "sources",
    "sse",
    "stage",
    "structured",
    "tokens",
    "ws",
]

# Type checkers read the imports above, Python reads this table; a test compares them.
_WHERE: Final = {
    "Completion": "streamkit.completion:Completion",
    "stage": "streamkit.core.function:stage",
    "Source": "streamkit.core.source:Source",
    "AsyncPipeline": "streamkit.core.stage:AsyncPipeline",
    "AsyncStage": "streamkit.core.stage:AsyncStage",
    "Pipeline": "streamkit.core.stage:Pipeline",
    "Stage": "streamkit.core.stage:Stage",
    "Stream": "streamkit.core.stream:Stream",
    "show": "streamkit.display.live:show",
    "Emit": "streamkit.emitters.emit:Emit",
    "PipelineError": "streamkit.errors:PipelineError",
    "ProviderError": "streamkit.errors:ProviderError",
    "SourceError": "streamkit.errors:SourceError",
    "StatusError": "streamkit.errors:StatusError",
    "StreamkitError": "streamkit.errors:StreamkitError",
    "Blocked": "streamkit.events:Blocked",
    "Event": "streamkit.events:Event",
    "Finish": "streamkit.events:Finish",
    "ReasoningDelta": "streamkit.events:ReasoningDelta",
    "Redacted": "streamkit.events:Redacted",
    "RefusalDelta": "streamkit.events:RefusalDelta",
    "StreamEnd": "streamkit.events:StreamEnd",
    "StructuredOutput": "streamkit.events:StructuredOutput",
    "TextDelta": "streamkit.events:TextDelta",
    "Timings": "streamkit.events:Timings",
    "TokenCount": "streamkit.events:TokenCount",
    "ToolCallDelta": "streamkit.events:ToolCallDelta",
    "Usage": "streamkit.events:Usage",
    "UsageReport": "streamkit.events:UsageReport",
    "Rule": "streamkit.moderation.rule:Rule",
    "feed": "streamkit.sources.feed:feed",
    "record": "streamkit.sources.record:record",
    "replay": "streamkit.sources.replay:replay",
    "Parse": "streamkit.sse.parse:Parse",
    "Accumulate": "streamkit.stages.accumulate:Accumulate",
    "Budget": "streamkit.stages.budget:Budget",
    "Classify": "streamkit.stages.classify:Classify",
    "Count": "streamkit.stages.count:Count",
    "Extract": "streamkit.stages.extract:Extract",
    "Moderate": "streamkit.stages.moderate:Moderate",
    "Structured": "streamkit.stages.structured:Structured",
    "Timing": "streamkit.stages.timing:Timing",
    "batch": "streamkit.batch",
    "core": "streamkit.core",
    "dialects": "streamkit.dialects",
    "display": "streamkit.display",
    "emitters": "streamkit.emitters",
    "errors": "streamkit.errors",
    "events": "streamkit.events",
    "hops": "streamkit.hops",
    "http": "streamkit.sources.http",
    "latency": "streamkit.latency",
    "moderation": "streamkit.moderation",
    "ops": "streamkit.operators",
    "pipelines": "streamkit.plugins.pipeline_files",
    "plugins": "streamkit.plugins",
    "relay": "streamkit.relay",
    "rules": "streamkit.moderation.rule_file",
    "requests": "streamkit.requests",
    "sinks": "streamkit.sinks",
    "sources": "streamkit.sources",
    "sse": "streamkit.sse",
    "structured": "streamkit.structured",
    "tokens": "streamkit.tokens",
    "ws": "streamkit.sources.ws",
}
# Hidden from type checkers, which would otherwise accept any name.
if not TYPE_CHECKING:
    __getattr__, __dir__ = lazily(__name__, _WHERE, ("events", "errors", "ops", "sse", "hops", "moderation", "tokens"))
