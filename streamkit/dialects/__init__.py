"""Provider wire formats, one per file. A dialect is a stage: server-sent events in, `Event`s out, `StreamEnd` last.

`for_event` selects a dialect by the first event. To add one, write a file and register it here, or install a package with
an entry point.
"""

from functools import cache
from typing import cast

import msgspec

from streamkit import plugins
from streamkit.core.naming import named
from streamkit.core.wrong_input import kind_of
from streamkit.dialects.anthropic import AnthropicMessages
from streamkit.dialects.assistants import OpenAIAssistants
from streamkit.dialects.base import Dialect
from streamkit.dialects.bedrock_models import BedrockModels
from streamkit.dialects.cloudflare import WorkersAI
from streamkit.dialects.cohere import CohereChat
from streamkit.dialects.cohere_v1 import CohereChatV1
from streamkit.dialects.converse import BedrockConverse
from streamkit.dialects.dashscope import DashScope
from streamkit.dialects.gemini import Gemini
from streamkit.dialects.gemini_live import GeminiLive
from streamkit.dialects.interactions import GeminiInteractions
from streamkit.dialects.ollama import Ollama
from streamkit.dialects.openai import OpenAICompletions
from streamkit.dialects.realtime import OpenAIRealtime
from streamkit.dialects.replicate import Replicate
from streamkit.dialects.responses import OpenAIResponses
from streamkit.dialects.surrogates import mark
from streamkit.dialects.tgi import TextGenerationInference
from streamkit.dialects.transcription import OpenAITranscription
from streamkit.dialects.watsonx import Watsonx
from streamkit.dialects.writer import WriterCompletions
from streamkit.errors import PipelineError, PluginError
from streamkit.plugins.entry_points import BY_MODULE, unknown
from streamkit.sse.events import ServerSentEvent
from streamkit.sse.json_text import NOT_JSON

__all__ = ["DIALECTS", "Dialect", "by_name", "for_event", "installed"]

# `for_event` tries them in this order: those with the most distinctive fields first.
DIALECTS: dict[str, type[Dialect]] = {
    "anthropic": AnthropicMessages,
    "converse": BedrockConverse,
    "gemini-live": GeminiLive,
    "gemini": Gemini,
    "cohere": CohereChat,
    "cohere-v1": CohereChatV1,
    "openai": OpenAICompletions,
    "realtime": OpenAIRealtime,
    "responses": OpenAIResponses,
    "ollama": Ollama,
    "watsonx": Watsonx,
    "assistants": OpenAIAssistants,
    "transcription": OpenAITranscription,
    "replicate": Replicate,
    "interactions": GeminiInteractions,
    "dashscope": DashScope,
    "tgi": TextGenerationInference,
    "cloudflare": WorkersAI,
    "bedrock": BedrockModels,
    "writer": WriterCompletions,
}


def by_name(name: str) -> type[Dialect]:
    """Return the dialect with that name: built in, from an installed package (entry points `streamkit.dialects`), or any other
    class as `package.module:name`.

    Raises `PipelineError` for an unknown name and a module's object that is not a dialect, and `PluginError` if the object that a
    package provides is not one.
    """
    if name in DIALECTS:
        return DIALECTS[name]
    if ":" in name:
        return checked(named(name))
    if (found := plugins.find("dialects", name)) is None:
        raise PipelineError(unknown("dialects", name, DIALECTS, also=BY_MODULE))
    if not _is_dialect(found):
        raise PluginError(f"streamkit.dialects: {name!r} is not a subclass of Dialect")
    return cast("type[Dialect]", found)


def checked(dialect: object) -> type[Dialect]:
    """Return the class of a dialect. Raises `PipelineError` for any other object."""
    if not _is_dialect(dialect):
        raise PipelineError(f"expected the name of a dialect or a subclass of Dialect, found {kind_of(dialect)}")
    return cast("type[Dialect]", dialect)


def _is_dialect(found: object) -> bool:
    return isinstance(found, type) and issubclass(found, Dialect)


def for_event(event: ServerSentEvent, problems: list[str] | None = None) -> type[Dialect] | None:
    """Return the dialect of a stream that contains this event; `None` if the event does not show it, as for a ping.

    Dialects of installed packages are tried after the built-in ones. One that fails to load, or whose `recognizes` raises, is
    skipped, and a message about it is added to `problems`.
    """
    data = _data(event.payload)
    for dialect in DIALECTS.values():
        if dialect.recognizes(event, data):
            return dialect
    # An event without data identifies no dialect; a stream that begins with one must not load packages for it.
    if event.data.strip() in ("", "[DONE]"):
        return None
    return _of_a_package(event, data, [] if problems is None else problems)


@cache
def installed() -> tuple[dict[str, type[Dialect]], list[str]]:
    """Return the dialects of installed packages, loaded once per process, and a message for each that failed to load."""
    found: dict[str, type[Dialect]] = {}
    problems: list[str] = []
    for name in plugins.names("dialects"):
        try:
            found.setdefault(name, by_name(name))
        except PluginError as error:
            problems.append(str(error))
    return found, problems


def _of_a_package(event: ServerSentEvent, data: object, problems: list[str]) -> type[Dialect] | None:
    dialects, broken = installed()
    problems += [problem for problem in broken if problem not in problems]
    for name, dialect in dialects.items():
        try:
            if dialect.recognizes(event, data):
                return dialect
        # Third-party code may raise anything; the next dialect may match. The error's message may quote the answer.
        except Exception as error:
            problem = f"streamkit.dialects: {name!r} failed in recognizes(): {type(error).__name__}"
            if problem not in problems:
                problems.append(problem)
    return None


def _data(payload: bytes) -> object:
    try:
        return msgspec.json.decode(payload)
    except NOT_JSON:
        marked = mark(payload)
        return None if marked is None else _data(marked)
