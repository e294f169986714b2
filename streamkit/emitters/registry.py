"""Emitters by name: streamkit's own, installed packages' (entry points `streamkit.emitters`), and anyone's by module."""

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
"""streamkit's own emitters: where each is, imported when it is used."""


def emitter_names() -> list[str]:
    """The names of all emitters, streamkit's own and those of installed packages. Imports none."""
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
