"""Events that quote an answer: whether they contain text that was withheld."""

import re
from collections.abc import Callable, Iterator
from typing import Any, cast
from urllib.parse import unquote_plus

import msgspec

MOST_CHARACTERS = 65_536
"""Withheld text beyond which everything counts as a quote of it."""
MOST_QUOTED = 16_384
"""Characters beyond which a text counts as a quote if anything was withheld."""
_LEAST = 3
_NO_TEXT = {"type", "id"}
"""Names of fields that never contain model-written text."""
EXEMPT = frozenset(
    {
        *("type", "id", "object", "status", "role", "model", "modelVersion", "shape", "channel"),
        *("signature", "thoughtSignature", "thought_signature", "encrypted_content", "data", "b64_json"),
    }
)
"""Fields of structure that no rule sees: what the provider names things, signatures, and data that is no text."""
_SETTINGS = re.compile(
    r"(?:/response)?/(?:instructions|tools|tool_choice|truncation|service_tier|response_format|stop|without|message/without"
    r"|prompt_cache_retention|text/(?:format|verbosity)|reasoning/(?:effort|summary)|provider|system/warnings|warnings"
    r"|created|created_at|createTime|updated|event_type|meta/api_version|safetyRatings|finishMessage"
    r"|native_finish_reason|(?:incomplete_)?details/(?:finish_)?reason)(?:/.*)?"
)
"""Places in a provider's details that have its own words, or repeat the request."""


class WithheldText:
    """The text of one choice that was withheld."""

    def __init__(self) -> None:
        self._texts: dict[str, None] = {}
        self._left = MOST_CHARACTERS
        self._joined = ""
        self._short: list[str] = []
        self._lengths: dict[str, set[int]] = {}  # of the others, by how they begin

    def add(self, text: str) -> None:
        """That text was withheld."""
        if (plain := _plain(text)) and plain not in self._texts:
            self._left -= len(plain)
            if self._left >= 0:
                self._keep(plain)

    def _keep(self, text: str) -> None:
        self._texts[text] = None
        self._joined = ""
        if len(text) < _LEAST:
            self._short.append(text)
        else:
            self._lengths.setdefault(text[:_LEAST], set()).add(len(text))

    def quoted_in(self, text: str) -> bool:
        """Whether a text contains withheld text, is a part of it, or begins or ends with one.

        Neither case nor white space counts. Of a text of more than `MOST_QUOTED` characters that is assumed.
        """
        if self._left < 0 or not self._texts:
            return self._left < 0
        if len(text) > MOST_QUOTED or not (quote := _plain(text)):
            return len(text) > MOST_QUOTED
        if not self._joined:
            # Between two texts is a character that is in none.
            self._joined = "\n".join(["", *self._texts, ""])
        return quote in self._joined or self._begins_in(quote) or self._ends_in(quote)

    def _begins_in(self, quote: str) -> bool:
        # Whether a withheld text is in the quote, or begins there.
        if any(text in quote for text in self._short):
            return True
        for at in range(len(quote) - _LEAST + 1):
            if lengths := self._lengths.get(quote[at : at + _LEAST]):
                whole = any(quote[at : at + length] in self._texts for length in lengths)
                if whole or f"\n{quote[at:]}" in self._joined:
                    return True
        return False

    def _ends_in(self, quote: str) -> bool:
        # Whether the quote begins with the end of a withheld text.
        at = self._joined.find(quote[:_LEAST])
        while len(quote) >= _LEAST and at >= 0:
            end = self._joined.find("\n", at, at + len(quote) + 1)
            if end >= 0 and quote.startswith(self._joined[at:end]):
                return True
            at = self._joined.find(quote[:_LEAST], at + 1)
        return False

    def state(self) -> Any:
        """Return the state as JSON-compatible data, for a checkpoint."""
        return [self._left, list(self._texts)]

    def restore(self, state: Any) -> None:
        """Continue from `state`."""
        self._left, texts = state
        for text in texts:
            self._keep(text)


def strings_of(value: Any) -> Iterator[str]:
    """All strings in what JSON has, with the names of its objects that may be the model's."""
    match value:
        case str():
            yield value
        case dict():
            for name, item in cast("dict[str, Any]", value).items():
                if name not in _NO_TEXT:
                    yield str(name)
                    yield from strings_of(item)
        case list() | tuple():
            for item in cast("list[Any]", value):
                yield from strings_of(item)
        case _:
            pass


def without_quotes(value: Any, quotes: Callable[[str], bool]) -> Any:
    """The same without the items of lists that quote; `None` if the value itself does."""
    match value:
        case str():
            return None if quotes(value) else value
        case list():
            items = (without_quotes(item, quotes) for item in cast("list[Any]", value))
            return [item for item in items if item is not None]
        case dict():
            return _fields_without_quotes(cast("dict[str, Any]", value), quotes)
        case _:
            return value


def _fields_without_quotes(fields: dict[str, Any], quotes: Callable[[str], bool]) -> dict[str, Any] | None:
    kept: dict[str, Any] = {}
    for name, value in fields.items():
        kept[name] = value if name in _NO_TEXT else without_quotes(value, quotes)
        if kept[name] is None and value is not None:
            return None
    return kept


def without_text(value: Any, forbids: Callable[[str, str], bool], place: str = "") -> Any:
    """The same with an empty string for each that is forbidden. Names of fields, and fields that are exempt, stay.

    `forbids` receives the text and its place: the names of the fields that it is in.
    """
    match value:
        case str():
            return "" if value and forbids(value, place) else value
        case list():
            return [without_text(item, forbids, place) for item in cast("list[Any]", value)]
        case dict():
            return {
                name: item if _is_exempt(name, item) else without_text(item, forbids, f"{place}/{name}")
                for name, item in cast("dict[str, Any]", value).items()
            }
        case _:
            return value


def texts_of(value: Any) -> list[str]:
    """The strings of a provider's details that may be the model's: in fields that are neither exempt nor known settings."""
    found: list[str] = []

    def take(text: str, place: str) -> bool:
        if not _SETTINGS.fullmatch(place):
            found.append(text)
        return False

    without_text(value, take)
    return found


def without_texts(value: Any) -> Any:
    """The same with an empty string for each of these."""
    return without_text(value, lambda text, place: not _SETTINGS.fullmatch(place))


def tokens_of(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """The tokens in log probabilities, each with its place: strings, and the names in objects that have numbers alone."""
    match value:
        case str():
            yield place, value
        case dict():
            fields = cast("dict[str, Any]", value)
            if all(isinstance(item, int | float) for item in fields.values()):
                yield from ((place, name) for name in fields)
            for name, item in fields.items():
                yield from tokens_of(item, f"{place}/{name}")
        case list():
            for item in cast("list[Any]", value):
                yield from tokens_of(item, place)
        case _:
            pass


def spellings(text: str) -> set[str]:
    """The text, and what it says as a part of a URL."""
    return {text, unquote_plus(text)} if "%" in text or "+" in text else {text}


def _is_exempt(name: str, value: object) -> bool:
    return isinstance(value, str) and (name in EXEMPT or name.endswith(("_id", "Id")))


def plain_data(value: Any) -> Any:
    """Any value as JSON has it. `TypeError` for one that can't be."""
    dump = getattr(value, "model_dump", None)  # pydantic's
    return msgspec.to_builtins(dump(mode="json") if callable(dump) else value, str_keys=True)


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())
