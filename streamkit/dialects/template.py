"""The short cut for the chunks that differ in their text alone, which most chunks of an answer do.

If one chunk is `head + literal + tail`, and `literal` is the inside of the JSON string that holds the text, then every other
payload `head + x + tail` is the same chunk with another text, whatever `x` is, as long as `x` is the inside of one JSON string.
That is checked by looking at `x` alone, which is several times cheaper than decoding the chunk.
"""

import re
from collections.abc import Callable
import msgspec

_LITERAL = re.compile(r'"(?:content|text)":"((?:[^"\\]|\\.)*)"')
_PROBE = "probe"
_string = msgspec.json.Decoder(str).decode


class Template:
    """What stands before and after the text, and the index of the choice. A caller that could use it sets `used`."""

    def __init__(self) -> None:
        self.head = self.tail = "\0"  # no payload begins so
        self.index = 0
        self.used = False
        self._wait = self._patience = 1

    def worth_learning(self) -> bool:
        """Whether to learn from a chunk that did not fit. Where no two chunks are alike, that becomes rare."""
        if self.used:
            self._wait = self._patience = 1
        self._wait -= 1
        if self._wait > 0:
            return False
        self._patience = min(self._patience * 2, 1024)
        self._wait = self._patience
        return True

    def learn(self, payload: str, index: int, text_of: Callable[[str], str | None]) -> None:
        """Take a chunk of text as the model. `text_of` gives the text of a payload that is the same chunk otherwise."""
        if found := _LITERAL.search(payload):
            head, tail = payload[: found.start(1)], payload[found.end(1) :]
            if text_of(head + _PROBE + tail) == _PROBE:
                self.head, self.tail, self.index, self.used = head, tail, index, False


def unescape(literal: str) -> str | None:
    """The text that the inside of a JSON string stands for; `None` if it is not the inside of exactly one string."""
    try:
        return _string(f'"{literal}"')
    except msgspec.DecodeError:
        return None
