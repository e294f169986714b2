"""IBM watsonx.ai's generated text. (https://cloud.ibm.com/apidocs/watsonx-ai#text-generation)"""

from typing import Any

from streamkit.events import Completion


def generation(completion: Completion) -> dict[str, Any]:
    """The object with the results."""
    results = [
        {**choice.details, "generated_text": choice.text, "stop_reason": choice.finish_reason or "not_finished"}
        for choice in completion.choices
    ]
    return {**completion.details, "results": results}
