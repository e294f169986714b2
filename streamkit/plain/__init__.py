"""A completion as the JSON object that the provider would have sent without streaming; one file a provider's form.

A dialect names its form in `Dialect.shape` and gives it as `Dialect.plain`, which puts it into `FORMS`, a package's dialect too.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from streamkit.plain.openai import chat_completion, chat_finish, chat_usage, own_completion

if TYPE_CHECKING:
    from streamkit.events import Completion

__all__ = ["FORMS", "PlainForm", "chat_completion", "chat_finish", "chat_usage", "plain_form"]

PlainForm: TypeAlias = Callable[["Completion"], dict[str, Any]]
FORMS: dict[str, PlainForm] = {}
"""By the name of the shape."""


def plain_form(completion: "Completion") -> dict[str, Any]:
    """The completion in its own dialect; OpenAI's where that is the dialect's own, or the dialect has no form."""
    form = FORMS.get(completion.shape or "", own_completion)
    return form(completion)
