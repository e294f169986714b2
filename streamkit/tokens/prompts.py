"""Count the tokens of a prompt before it is sent, by the rules of OpenAI's cookbook.

Text messages are counted exactly for the models that the cookbook lists. Tools, images and tool calls in the history are
estimates, because the provider does not document how it renders them.
(https://github.com/openai/openai-cookbook/blob/main/examples/How_to_count_tokens_with_tiktoken.ipynb)
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, cast

import msgspec

from streamkit.tokens.counters import Counter, CounterLike, find_counter
from streamkit.tokens.images import data_size, image_tokens
from streamkit.tokens.models import encoding_name

Messages = Iterable[Mapping[str, Any]]


class PromptTokens(msgspec.Struct, frozen=True):
    """The token count of a prompt. `tokens` is the sum of `messages`, `tools` and `images`."""

    tokens: int
    exact: bool
    """False if any part is an estimate."""
    messages: int = 0
    """Tokens of the messages."""
    tools: int = 0
    """Tokens of the tools."""
    images: int = 0
    """Tokens of the images."""


class _Rule(NamedTuple):
    # The constants of the cookbook's num_tokens_from_messages and num_tokens_for_tools.
    message: int
    name: int
    tool: int


_PRIMER = 3  # every answer is primed with <|start|>assistant<|message|>
_PROPERTIES, _PROPERTY, _ENUM, _ENUM_ITEM, _TOOLS_END = 3, 3, -3, 3, 12


def _rule(model: str, encoding: str) -> _Rule:
    if model == "gpt-3.5-turbo-0301":
        return _Rule(4, -1, 10)  # <|start|>{role/name}\n{content}<|end|>\n; a name replaces the role
    return _Rule(3, 1, 10 if encoding == "cl100k_base" else 7)


def prompt_tokens(
    messages: Messages,
    model: str,
    *,
    tools: Iterable[Mapping[str, Any]] = (),
    counter: CounterLike | None = None,
) -> PromptTokens:
    """Count the tokens of chat messages as a prompt to `model`, with the `tools` (or `functions`) offered to it.

    Rules since June 2023: three extra tokens per message, one more for a `name`, and three that prime the answer.
    `gpt-3.5-turbo-0301` had four per message, and one less for a name. The result is an estimate (`exact=False`) if it includes
    tools, images, tool calls or other content than text, or if the model's encoding is unknown. A `counter` counts the texts
    instead of the model's encoding; the result is then always an estimate, since the rules are OpenAI's.
    """
    used = find_counter(counter, model)
    rule = _rule(model, used.name)
    total, images, exact = _PRIMER, 0, used.exact and counter is None and _documented(model)
    for message in messages:
        total += rule.message
        for name, value in message.items():
            tokens, pictures, known = _value(value, used, model)
            total += tokens + (rule.name if name == "name" and value is not None else 0)
            images += pictures
            exact = exact and known
    offered = _tools(tools, used, rule)
    return PromptTokens(total + offered + images, exact and not offered, total, offered, images)


def _documented(model: str) -> bool:
    # The cookbook has no rules for other models; reasoning models are known to have different ones.
    return model.removeprefix("openai/").removeprefix("ft:").startswith(("gpt-3.5", "gpt-35", "gpt-4")) or (
        model == encoding_name(model)[0]
    )


def _value(value: object, counter: Counter, model: str) -> tuple[int, int, bool]:
    # Returns the tokens of text, the tokens of images, and whether both are exact.
    if value is None:
        return 0, 0, True
    if isinstance(value, str):
        return _length(value, counter), 0, True
    if isinstance(value, list):
        found = [_part(part, counter, model) for part in cast(list[object], value)]
        return sum(text for text, _ in found), sum(picture for _, picture in found), False
    return _length(_json(value), counter), 0, False


def _part(part: object, counter: Counter, model: str) -> tuple[int, int]:
    # A content part: text or an image, in the format of chat completions or Responses; or a tool call.
    fields = _mapping(part)
    match fields.get("type"):
        case "text" | "input_text" | "output_text":
            return _length(str(fields.get("text", "")), counter), 0
        case "image_url":
            picture = _mapping(fields.get("image_url"))
            return 0, _picture(picture.get("url"), picture.get("detail"), model)
        case "input_image":
            return 0, _picture(fields.get("image_url"), fields.get("detail"), model)
        case _:
            return _length(_json(part), counter), 0


def _picture(url: object, detail: object, model: str) -> int:
    return image_tokens(model, data_size(str(url)), str(detail or "auto"))


def _tools(tools: Iterable[Mapping[str, Any]], counter: Counter, rule: _Rule) -> int:
    total = 0
    for tool in tools:
        # An item of the older `functions` equals the `function` of a tool.
        function = _mapping(tool.get("function")) or tool
        total += rule.tool + _length(f"{function.get('name', '')}:{_sentence(function)}", counter)
        properties = _mapping(_mapping(function.get("parameters")).get("properties"))
        total += _PROPERTIES if properties else 0
        for name, schema in properties.items():
            field = _mapping(schema)
            total += _PROPERTY + _length(f"{name}:{field.get('type', '')}:{_sentence(field)}", counter)
            if "enum" in field:
                items = cast(list[object], field["enum"])
                total += _ENUM + sum(_ENUM_ITEM + _length(str(item), counter) for item in items)
    return total + _TOOLS_END if total else 0


def _mapping(value: object) -> Mapping[str, Any]:
    return cast(Mapping[str, Any], value) if isinstance(value, Mapping) else {}


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _sentence(schema: Mapping[str, Any]) -> str:
    return str(schema.get("description") or "").removesuffix(".")


def _length(text: str, counter: Counter) -> int:
    count = counter.count()
    count.feed(text)
    return count.tokens
