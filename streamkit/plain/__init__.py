"""A completion as the JSON object that the provider would have sent without streaming; one file a provider's form.

A dialect names its form in `Dialect.shape` and gives it as `Dialect.plain`, which puts it into `FORMS`, a package's dialect too.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from streamkit.plain.citations import Bytes, Span, chat_annotations
from streamkit.plain.openai import (
    Called,
    call_id,
    chat_completion,
    chat_finish,
    chat_logprobs,
    chat_usage,
    end_finish,
    own_completion,
    text_completion,
    text_logprobs,
)

if TYPE_CHECKING:
    from streamkit.events import Completion

__all__ = [
    "FORMS",
    "Bytes",
    "Called",
    "PlainForm",
    "Span",
    "call_id",
    "chat_annotations",
    "chat_completion",
    "chat_finish",
    "chat_logprobs",
    "chat_usage",
    "end_finish",
    "plain_form",
    "text_completion",
    "text_logprobs",
]

PlainForm: TypeAlias = Callable[["Completion"], dict[str, Any]]
FORMS: dict[str, PlainForm] = {}
"""By the name of the shape."""


def plain_form(completion: "Completion") -> dict[str, Any]:
    """The completion in its own dialect; OpenAI's where that is the dialect's own, or the dialect has no form."""
    form = FORMS.get(completion.shape or "", own_completion)
    return form(completion)
