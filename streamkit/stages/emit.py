"""Events into the server-sent events of a provider's wire."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from streamkit.dialects.openai_emit import OpenAIChunks
from streamkit.errors import PipelineError
from streamkit.events import Event
from streamkit.stage import Stage
from streamkit.wire.events import ServerSentEvent


@dataclass
class Emit(Stage[Event, ServerSentEvent]):
    """Write an answer as a provider would have sent it, so that the provider's own clients read it.

    `openai` writes chunks of chat completions, `openai-legacy` those of completions, which carry text alone. Verdicts,
    counts, timings and all else that streamkit adds are not on the wire. The role comes first, and the last `Usage` as a
    chunk without choices before the end. An answer that is complete, was cut at its length or moderated ends with `[DONE]`;
    any other with an error in its place, which clients raise: also one whose events end without a `StreamEnd`.

    `id`, `created` and `model` are said where the provider said nothing before the first chunk.
    """

    dialect: Literal["openai", "openai-legacy"] = "openai"
    id: str | None = None
    created: int = 0
    model: str = "unknown"
    _writer: OpenAIChunks = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.dialect not in ("openai", "openai-legacy"):
            raise PipelineError(f"expected one of the dialects openai, openai-legacy; found {self.dialect!r}")
        self._writer = OpenAIChunks(self.id, self.created, self.model, legacy=self.dialect == "openai-legacy")

    def feed(self, item: Event) -> Iterable[ServerSentEvent]:
        return self._writer.feed_all([item])

    def feed_all(self, items: list[Event]) -> Iterable[ServerSentEvent]:
        return self._writer.feed_all(items)

    def flush(self) -> Iterable[ServerSentEvent]:
        return self._writer.flush()
