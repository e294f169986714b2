"""The result of Cloudflare's Workers AI. (https://developers.cloudflare.com/workers-ai/models/)"""

from typing import Any

from streamkit.events import Choice, Completion, ToolCall
from streamkit.plain.fields import arguments_of, calls_of, decoded, mapping, released


def result(completion: Completion) -> dict[str, Any]:
    """What a binding gives: the text, the calls, the usage; inside of `result` where it came so, as over REST."""
    details, choice = dict(completion.details), completion.choices[0] if completion.choices else None
    rest = details.pop("result", None)
    whole = mapping(rest) if rest is not None else details
    whole = {**whole, "response": _response(whole.get("response", ""), choice)}
    if choice and (calls := _calls(choice)):
        whole["tool_calls"] = calls
    if choice and choice.finish_reason:
        whole["finish_reason"] = choice.finish_reason
    if completion.usage:
        whole["usage"] = completion.usage.details
    return whole if rest is None else {**details, "result": whole}


def _response(form: Any, choice: "Choice | None") -> Any:
    # A JSON mode gives an object, whose text is its JSON; a call of tools no text at all.
    if not isinstance(form, str) and choice and choice.content:
        return decoded(choice.content)
    return (choice.content if choice else None) or form


def _calls(choice: Choice) -> list[dict[str, Any]]:
    known = calls_of(choice)
    return [_call(dict(part.data), known[part.tool_index]) for part in released(choice) if part.tool_index is not None]


def _call(form: dict[str, Any], call: ToolCall) -> dict[str, Any]:
    function = dict(mapping(form.get("function")) or form)
    if call.name is not None:
        function["name"] = call.name
    function["arguments"] = call.arguments if isinstance(function.get("arguments"), str) else arguments_of(call)
    return {**form, "function": function} if "function" in form else function
