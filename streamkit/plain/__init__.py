"""A completion as the JSON object that the provider would have sent without streaming; one file a provider's form.

A dialect names its form in `Dialect.shape` and gives it as `Dialect.plain`, which registers it, a package's dialect too.
"""

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
from streamkit.response_forms import CHAT, OPENAI, register
from streamkit.response_forms import ResponseForm as PlainForm

__all__ = [
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
    "text_completion",
    "text_logprobs",
]

register(OPENAI, own_completion)
register(CHAT, chat_completion)
