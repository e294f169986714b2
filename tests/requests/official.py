"""Generate random requests from the official clients' types, with every field and every kind of block."""

import itertools
import random
import types
from collections.abc import Mapping
from os import PathLike
from typing import IO, Any, Literal, Union, get_args, get_origin

import typing_extensions as te
from anthropic.types.message_create_params import MessageCreateParamsStreaming
from openai.types.chat.completion_create_params import CompletionCreateParamsStreaming
from openai.types.responses.response_create_params import ResponseCreateParamsStreaming

from tests.requests.generate_content import GenerateContent

OFFICIAL: dict[str, Any] = {
    "openai": CompletionCreateParamsStreaming,
    "anthropic": MessageCreateParamsStreaming,
    "responses": ResponseCreateParamsStreaming,
    "gemini": GenerateContent,
}
_MESSAGES = ("messages", "input", "contents")
_ALWAYS = ("model", *_MESSAGES)
_FILES = (IO[bytes], PathLike)
_WRAPPED = (te.Required, te.NotRequired, te.Annotated)


def body_of(kind: Any, seed: int) -> dict[str, Any]:
    """Return a request of a TypedDict. Each free string is unique, so that it can be found in the translation."""
    return _Body(random.Random(seed)).fields(kind, 0)


class _Body:
    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._numbers = itertools.count()

    def fields(self, kind: Any, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, hint in te.get_type_hints(kind, include_extras=True).items():
            needed = get_origin(hint) is te.Required or name in _ALWAYS
            if needed or self._chance.randrange(8 if depth == 0 else 3) == 0:
                found[name] = self._value(hint, depth + 1, name)
        return found

    def _value(self, hint: Any, depth: int, name: str = "") -> Any:
        # The clients also accept their own response models and open files, which are not JSON.
        kinds = [kind for kind in _kinds(hint) if not hasattr(kind, "model_fields") and kind not in _FILES]
        kind = kinds[-1] if name in _MESSAGES and depth == 1 else self._chance.choice(kinds)
        origin, inner = get_origin(kind), get_args(kind)
        if te.is_typeddict(kind):
            return self.fields(kind, depth)
        if origin is Literal:
            return self._chance.choice(inner)
        if origin in (dict, Mapping):
            return {self._value(inner[0], depth): self._value(inner[1], depth + 1)} if self._chance.randrange(2) else {}
        if inner:
            least, most = (2, 6) if name in _MESSAGES else (self._chance.choice((0, 1, 1, 1)), 2)
            return [self._value(inner[0], depth + 1) for _ in range(self._chance.randint(least, most))]
        if kind is bool:
            return self._chance.choice((True, False))
        if kind is int:
            return self._chance.randint(1, 9)
        return self._chance.choice((0, 0.5, 1.5)) if kind is float else self._mark()

    def _mark(self) -> str:
        return f"w{next(self._numbers)}w"


def _kinds(hint: Any) -> list[Any]:
    origin = get_origin(hint)
    if origin in _WRAPPED:
        return _kinds(get_args(hint)[0])
    if origin in (Union, types.UnionType):
        return [kind for one in get_args(hint) if one is not type(None) for kind in _kinds(one)]
    return [hint]
