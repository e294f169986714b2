"""Events into the server-sent events of a provider's wire."""

from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from streamkit.core.stage import Stage
from streamkit.dialects.openai.response import chat_completion, text_completion
from streamkit.emitters.openai import OpenAIChunks, whole_seconds
from streamkit.errors import PipelineError
from streamkit.events import Completion, Event
from streamkit.sse.events import ServerSentEvent


@dataclass
class Emit(Stage[Event, ServerSentEvent]):
    """Write an answer as OpenAI would have sent it, so that OpenAI's clients read it, whoever answered.

    `openai` writes chunks of chat completions, `openai-legacy` those of completions, which carry text alone. Verdicts,
    counts, timings and all else that streamkit adds are not on the wire.

    - The role comes first. A call of a tool has an id, which is made from what is known of it where the provider gave none,
      and arguments, `{}` if it has none. Each choice ends with one of OpenAI's finish reasons.
    - Citations come as `url_citation` before that, and not at all where moderation withheld something of the choice, which
      they might quote.
    - `include_usage`: send the usage, of several responses in one stream their sum, in a chunk without choices before the end, as
      OpenAI does for a request with `stream_options.include_usage`, and only for that: such a chunk breaks a client that expects
      choices.
    - An answer that is complete, was cut at its length or moderated ends with `[DONE]`; any other with an error in its place,
      which clients raise: also one whose events end without a `StreamEnd`, and one that begins anew (`Reset`) after
      something of it was written.

    `id`, `created` and `model` are used where the provider said nothing before the first chunk.
    """

    dialect: Literal["openai", "openai-legacy"] = "openai"
    id: str | None = None
    created: int = 0
    model: str = "unknown"
    include_usage: bool = field(default=False, kw_only=True)
    _writer: OpenAIChunks = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.dialect not in ("openai", "openai-legacy"):
            raise PipelineError(f"expected one of the dialects openai, openai-legacy; found {self.dialect!r}")
        legacy = self.dialect == "openai-legacy"
        self._writer = OpenAIChunks(self.id, self.created, self.model, legacy, self.include_usage)

    def feed(self, item: Event) -> Iterable[ServerSentEvent]:
        return self._writer.feed_all([item])

    def feed_all(self, items: list[Event]) -> Iterable[ServerSentEvent]:
        return self._writer.feed_all(items)

    def flush(self) -> Iterable[ServerSentEvent]:
        return self._writer.flush()

    def response(self, completion: Completion, withheld: Container[int] | None = None) -> dict[str, Any]:
        """The same answer for a client that did not ask for a stream: the whole JSON object.

        `withheld` are the choices of which a moderation held text back, by default all that have verdicts.
        """
        known = {name: getattr(completion, name) for name in ("id", "created", "model")}
        identity = {name: known[name] or value for name, value in self._writer.defaults.items()}
        known = identity | {"created": whole_seconds(identity["created"])}
        whole = msgspec.structs.replace(completion, **known)
        return text_completion(whole) if self._writer.legacy else chat_completion(whole, withheld)
