"""OpenAI's transcription as JSON. (https://platform.openai.com/docs/api-reference/audio/json-object)"""

from typing import Any

from streamkit.events import Completion


def transcription(completion: Completion) -> dict[str, Any]:
    """The text, with log probabilities and usage where they were sent."""
    whole: dict[str, Any] = {"text": completion.text}
    if completion.choices and (logprobs := completion.choices[0].logprobs):
        whole["logprobs"] = logprobs.get("content")
    if completion.usage:
        whole["usage"] = completion.usage.details
    return whole
