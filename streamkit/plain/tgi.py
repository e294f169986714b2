"""The answer of Hugging Face's Text Generation Inference. (https://huggingface.github.io/text-generation-inference/)"""

from typing import Any

from streamkit.events import Completion
from streamkit.plain.fields import mapping


def generation(completion: Completion) -> dict[str, Any]:
    """The object with the text and, where they were sent, its details and tokens."""
    whole: dict[str, Any] = {"generated_text": completion.text, **completion.details}
    choice = completion.choices[0] if completion.choices else None
    tokens = ((choice.logprobs if choice else None) or {}).get("generated")
    if "details" in whole:
        details = mapping(whole["details"])
        if choice and choice.finish_reason:
            details = {**details, "finish_reason": choice.finish_reason}
        whole["details"] = {**details, "tokens": tokens} if tokens else details
    return whole
