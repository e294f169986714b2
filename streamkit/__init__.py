"""The piece between a language model's event stream and an application.

    import streamkit as sk

    pipeline = sk.Parse() | sk.Extract() | sk.Moderate(rules) | sk.Accumulate() | sk.Count("gpt-4o")

    async with sk.http.post(url, json=body, headers=headers) | pipeline as events:
        async for event in events: ...

Every name is imported when it is first used, so that `import streamkit` costs next to nothing.

Where things live:

    core                    how a pipeline runs: the engine and its drivers, stages, sources, checkpoints
    errors, events          what can go wrong, and what comes out
    response_forms, plain   a Completion as the provider's own response without streaming
    ends                    why answers end: the reasons, and providers' words for them
    error_bodies            the provider's own reason, from any shape of error body
    identity                who a tool call is, of pieces of its id, name and type
    gaps                    the waits between moments: percentiles and stalls
    config_files            files of rules and of pipelines, read within a bound
    misfits                 what to say of an object of the wrong kind
    wire                    bytes into lines, server-sent events into bytes
    dialects                providers' formats, one file each
    partial_json            JSON that is still growing
    validation              JSON into the user's types
    stages                  Parse, Extract, Moderate, Classify, Accumulate, Structured, Count, Budget, Timing, Emit
    moderation              rules, matchers, detectors, classifiers, and the release of what they have decided
    tokens                  exact counts of text that is still growing, of prompts, and prices
    sources                 HTTP, feeds, recordings
    sinks                   answers to clients, for aiohttp and for Starlette or FastAPI
    operators (ops)         small stages: map, take, batch, smooth, stop sequences, …
    naming                  functions and classes by name
    hops                    every task boundary
    pipelines, registry     pipelines written down, drawn and measured; stages by name
    plugins, toml_lines     entry points; the line of each key of a TOML file
    comparison, picture     streaming beside waiting, as a table and as SVG
    cli, __main__           the command line and the embedded provider
    testing                 the laws as checks for anybody's stage, scripted sources, a watch on leaks
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from streamkit import hops, pipelines
    from streamkit import operators as ops
    from streamkit.comparison import Comparison, compare
    from streamkit.core.function import stage
    from streamkit.core.run import Run
    from streamkit.core.source import Source
    from streamkit.core.stage import AsyncPipeline, AsyncStage, Pipeline, Stage, cut_short
    from streamkit.core.stream import Stream
    from streamkit.dialects.base import Dialect
    from streamkit.errors import (
        ConnectFailed,
        ContentTypeError,
        DeadlineExceeded,
        Disconnected,
        LimitExceeded,
        OutputError,
        PipelineError,
        PluginError,
        ProtocolError,
        ProviderError,
        QueueOverflow,
        RecordingError,
        RedirectError,
        SourceError,
        StatusError,
        StreamInterrupted,
        StreamkitError,
        UnknownDialect,
    )
    from streamkit.events import (
        Annotation,
        AudioDelta,
        Blocked,
        Checked,
        Choice,
        Completion,
        Event,
        Finish,
        Flagged,
        HoldExceeded,
        InvalidOutput,
        Logprobs,
        ModerationReport,
        Part,
        PartDelta,
        PartEnd,
        PartialOutput,
        PartStart,
        ProviderNotice,
        ReasoningDelta,
        Redacted,
        RefusalDelta,
        Reset,
        ResponseDetails,
        ResponseStart,
        Retracted,
        RoleDelta,
        StreamEnd,
        StructuredOutput,
        TextDelta,
        Timings,
        TokenCount,
        ToolCall,
        ToolCallDelta,
        Usage,
        UsageReport,
        Verdict,
    )
    from streamkit.gaps import Stall
    from streamkit.hops import sync
    from streamkit.moderation import rule_file as rules
    from streamkit.moderation.classifiers import remote
    from streamkit.moderation.classifiers.chunking import Window, Windows
    from streamkit.moderation.classifiers.classifier import Decision, Failures, verdict_of
    from streamkit.moderation.classifiers.provider_filters import ProviderRule
    from streamkit.moderation.rule import Rule
    from streamkit.partial_json import PartialJson
    from streamkit.sources import adapters, faults, http
    from streamkit.sources.counting import count_prompt
    from streamkit.sources.feed import feed
    from streamkit.sources.record import record
    from streamkit.sources.replay import replay
    from streamkit.stages.accumulate import Accumulate
    from streamkit.stages.budget import Budget
    from streamkit.stages.classify import Classify
    from streamkit.stages.count import Count
    from streamkit.stages.emit import Emit
    from streamkit.stages.extract import Extract
    from streamkit.stages.moderate import Moderate
    from streamkit.stages.parse import Parse
    from streamkit.stages.structured import Structured
    from streamkit.stages.timing import Timing
    from streamkit.tokens import counters, prices
    from streamkit.tokens.prices import Prices
    from streamkit.tokens.prompts import PromptTokens, prompt_tokens
    from streamkit.wire.encode import Encode
    from streamkit.wire.events import Comment, JsonBody, ServerSentEvent, UnfinishedEvent
    from streamkit.wire.lines import Lines

__version__ = "0.1.0"
__all__ = [
    "Accumulate",
    "Annotation",
    "AsyncPipeline",
    "AsyncStage",
    "AudioDelta",
    "Blocked",
    "Budget",
    "Checked",
    "Choice",
    "Classify",
    "Comment",
    "Comparison",
    "Completion",
    "ConnectFailed",
    "ContentTypeError",
    "Count",
    "DeadlineExceeded",
    "Decision",
    "Dialect",
    "Disconnected",
    "Emit",
    "Encode",
    "Event",
    "Extract",
    "Failures",
    "Finish",
    "Flagged",
    "HoldExceeded",
    "InvalidOutput",
    "JsonBody",
    "LimitExceeded",
    "Lines",
    "Logprobs",
    "Moderate",
    "ModerationReport",
    "OutputError",
    "Parse",
    "Part",
    "PartDelta",
    "PartEnd",
    "PartStart",
    "PartialJson",
    "PartialOutput",
    "Pipeline",
    "PipelineError",
    "PluginError",
    "Prices",
    "PromptTokens",
    "ProtocolError",
    "ProviderError",
    "ProviderNotice",
    "ProviderRule",
    "QueueOverflow",
    "ReasoningDelta",
    "RecordingError",
    "Redacted",
    "RedirectError",
    "RefusalDelta",
    "Reset",
    "ResponseDetails",
    "ResponseStart",
    "Retracted",
    "RoleDelta",
    "Rule",
    "Run",
    "ServerSentEvent",
    "Source",
    "SourceError",
    "Stage",
    "Stall",
    "StatusError",
    "Stream",
    "StreamEnd",
    "StreamInterrupted",
    "StreamkitError",
    "Structured",
    "StructuredOutput",
    "TextDelta",
    "Timing",
    "Timings",
    "TokenCount",
    "ToolCall",
    "ToolCallDelta",
    "UnfinishedEvent",
    "UnknownDialect",
    "Usage",
    "UsageReport",
    "Verdict",
    "Window",
    "Windows",
    "adapters",
    "compare",
    "count_prompt",
    "counters",
    "cut_short",
    "faults",
    "feed",
    "hops",
    "http",
    "ops",
    "pipelines",
    "prices",
    "prompt_tokens",
    "record",
    "remote",
    "replay",
    "rules",
    "stage",
    "sync",
    "verdict_of",
]

# Checkers read the imports above, Python these tables; a test holds them together.
_WHERE: Final = {
    "streamkit.comparison": ("Comparison", "compare"),
    "streamkit.core.function": ("stage",),
    "streamkit.core.run": ("Run",),
    "streamkit.core.source": ("Source",),
    "streamkit.core.stage": ("AsyncPipeline", "AsyncStage", "Pipeline", "Stage", "cut_short"),
    "streamkit.core.stream": ("Stream",),
    "streamkit.dialects.base": ("Dialect",),
    "streamkit.errors": (
        "ConnectFailed",
        "ContentTypeError",
        "DeadlineExceeded",
        "Disconnected",
        "LimitExceeded",
        "OutputError",
        "PipelineError",
        "PluginError",
        "ProtocolError",
        "ProviderError",
        "QueueOverflow",
        "RecordingError",
        "RedirectError",
        "SourceError",
        "StatusError",
        "StreamInterrupted",
        "StreamkitError",
        "UnknownDialect",
    ),
    "streamkit.events": (
        "Annotation",
        "AudioDelta",
        "Blocked",
        "Checked",
        "Choice",
        "Completion",
        "Event",
        "Finish",
        "Flagged",
        "HoldExceeded",
        "InvalidOutput",
        "Logprobs",
        "ModerationReport",
        "Part",
        "PartDelta",
        "PartEnd",
        "PartialOutput",
        "PartStart",
        "ProviderNotice",
        "ReasoningDelta",
        "Redacted",
        "RefusalDelta",
        "Reset",
        "ResponseDetails",
        "ResponseStart",
        "Retracted",
        "RoleDelta",
        "StreamEnd",
        "StructuredOutput",
        "TextDelta",
        "Timings",
        "TokenCount",
        "ToolCall",
        "ToolCallDelta",
        "Usage",
        "UsageReport",
        "Verdict",
    ),
    "streamkit.gaps": ("Stall",),
    "streamkit.hops": ("sync",),
    "streamkit.moderation.classifiers.chunking": ("Window", "Windows"),
    "streamkit.moderation.classifiers.classifier": ("Decision", "Failures", "verdict_of"),
    "streamkit.moderation.classifiers.provider_filters": ("ProviderRule",),
    "streamkit.moderation.rule": ("Rule",),
    "streamkit.partial_json": ("PartialJson",),
    "streamkit.sources.counting": ("count_prompt",),
    "streamkit.sources.feed": ("feed",),
    "streamkit.sources.record": ("record",),
    "streamkit.sources.replay": ("replay",),
    "streamkit.stages.accumulate": ("Accumulate",),
    "streamkit.stages.budget": ("Budget",),
    "streamkit.stages.classify": ("Classify",),
    "streamkit.stages.count": ("Count",),
    "streamkit.stages.emit": ("Emit",),
    "streamkit.stages.extract": ("Extract",),
    "streamkit.stages.moderate": ("Moderate",),
    "streamkit.stages.parse": ("Parse",),
    "streamkit.stages.structured": ("Structured",),
    "streamkit.stages.timing": ("Timing",),
    "streamkit.tokens.prices": ("Prices",),
    "streamkit.tokens.prompts": ("PromptTokens", "prompt_tokens"),
    "streamkit.wire.encode": ("Encode",),
    "streamkit.wire.events": ("Comment", "JsonBody", "ServerSentEvent", "UnfinishedEvent"),
    "streamkit.wire.lines": ("Lines",),
}
_MODULES: Final = {
    "hops": "streamkit.hops",
    "pipelines": "streamkit.pipelines",
    "ops": "streamkit.operators",
    "remote": "streamkit.moderation.classifiers.remote",
    "rules": "streamkit.moderation.rule_file",
    "adapters": "streamkit.sources.adapters",
    "faults": "streamkit.sources.faults",
    "http": "streamkit.sources.http",
    "counters": "streamkit.tokens.counters",
    "prices": "streamkit.tokens.prices",
}
_OF: Final = {name: module for module, names in _WHERE.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        found: Any = import_module(_MODULES[name])
    elif name in _OF:
        found = getattr(import_module(_OF[name]), name)
    else:
        raise AttributeError(f"module 'streamkit' has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
