"""Find emitters by name: built in, from installed packages (entry points `streamkit.emitters`), or as `module:name`."""

from typing import cast

from streamkit import plugins
from streamkit.core.naming import named
from streamkit.emitters.emitter import MakeEmitter
from streamkit.errors import PipelineError
from streamkit.plugins.entry_points import unknown

BUILT_IN: dict[str, str] = {
    "openai": "streamkit.emitters.openai:OpenAIChunks",
    "openai-legacy": "streamkit.emitters.openai:OpenAITextChunks",
    "anthropic": "streamkit.emitters.anthropic:MessagesEmitter",
    "ai-sdk": "streamkit.emitters.ai_sdk:UIMessagesEmitter",
    "ag-ui": "streamkit.emitters.ag_ui:AgentEventsEmitter",
    "responses": "streamkit.emitters.responses:ResponsesEmitter",
}
"""The built-in emitters as `module:name`, imported on first use."""


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
        raise PipelineError(unknown("emitters", name, BUILT_IN, by_module=True))
    return cast(MakeEmitter, found)
