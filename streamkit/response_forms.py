"""How a completion is written as a provider's response: a registry that the dialects fill, so that values import none of them."""

from collections.abc import Callable
from importlib import import_module
from typing import Any, Final, TypeAlias

ResponseForm: TypeAlias = Callable[[Any], dict[str, Any]]
"""Takes a `Completion`, and returns the JSON object that its provider would have sent without streaming."""
OPENAI: Final = "openai"
"""The form of OpenAI's own completions, chat and legacy, and of every dialect that has no other."""
CHAT: Final = "openai.chat"
"""OpenAI's chat completion, whoever answered."""

_forms: dict[str, ResponseForm] = {}


def register(name: str, form: ResponseForm) -> None:
    """Write completions whose `shape` is this name in this form."""
    _forms[name] = form


def unregister(name: str) -> None:
    """Forget the form of that name."""
    del _forms[name]


def write(completion: Any, name: str | None) -> dict[str, Any]:
    """The completion in the form of that name; in OpenAI's if nobody registered it."""
    if OPENAI not in _forms or (name and name not in _forms):
        # A completion may be older than the process, as one of a checkpoint is: then no dialect is loaded yet. They are a room
        # above this one, and register their forms themselves.
        import_module("streamkit.dialects")
    return _forms.get(name or OPENAI, _forms[OPENAI])(completion)
