"""Create emitters, and find them by name.

A name is built in, of an installed package (entry points `streamkit.emitters`), or `module:name`.
"""

from typing import Any, cast

from streamkit import plugins
from streamkit.core.naming import named
from streamkit.core.wrong_input import kind_of
from streamkit.emitters.emitter import Emitter, MakeEmitter, Settings
from streamkit.errors import PipelineError
from streamkit.plugins.entry_points import BY_MODULE, unknown

BUILT_IN: dict[str, str] = {
    "openai": "streamkit.emitters.openai:OpenAIChunks",
    "openai-legacy": "streamkit.emitters.openai:OpenAITextChunks",
    "anthropic": "streamkit.emitters.anthropic:MessagesEmitter",
    "ai-sdk": "streamkit.emitters.ai_sdk:UIMessagesEmitter",
    "ag-ui": "streamkit.emitters.ag_ui:AgentEventsEmitter",
    "responses": "streamkit.emitters.responses:ResponsesEmitter",
}
"""The built-in emitters as `module:name`, imported on first use."""
_INTERFACE = (
    "headers",
    "id_prefix",
    "streams_only",
    "head",
    "events",
    "block",
    "restart",
    "end",
    "error",
    "keep_alive",
    "state",
    "restore",
)


def emitter_names() -> list[str]:
    """Return the names of all emitters, built in and from installed packages, without importing them."""
    return sorted({*BUILT_IN, *plugins.names("emitters")})


def emitter_named(name: str) -> MakeEmitter:
    """Return the factory of the emitter with that name.

    An unknown name raises `PipelineError`, and a package that can't be loaded `PluginError`.
    """
    if place := BUILT_IN.get(name):
        return cast(MakeEmitter, named(place))
    if ":" in name:
        return cast(MakeEmitter, named(name))
    if (found := plugins.find("emitters", name)) is None:
        raise PipelineError(unknown("emitters", name, BUILT_IN, also=BY_MODULE))
    return cast(MakeEmitter, found)


def new_emitter(emitter: str | MakeEmitter, settings: Settings) -> Emitter:
    """Return the emitter of one response. `emitter` is its name, its class, or a function that returns it.

    Raises `PipelineError` for any other object, and if the result lacks a part of the `Emitter` interface.
    """
    make = emitter_named(emitter) if isinstance(emitter, str) else emitter
    if not callable(cast(object, make)):
        raise PipelineError(
            f"expected the name of an emitter, or a class or function that takes Settings, found {kind_of(make)}"
        )
    made = make(settings)
    if missing := _missing(made):
        raise PipelineError(
            f"expected an emitter from {emitter_name(emitter)}, found {kind_of(made)}, which has no {', '.join(missing)}"
        )
    return made


def emitter_name(emitter: str | MakeEmitter) -> str:
    """Return the name of an emitter, its class or its function, for messages."""
    return emitter if isinstance(emitter, str) else getattr(emitter, "__name__", type(emitter).__name__)


def _missing(made: Any) -> list[str]:
    needed = _INTERFACE if getattr(made, "streams_only", False) else (*_INTERFACE, "response")
    return [name for name in needed if not hasattr(made, name)]
