"""Who counts: an encoding, another library's tokenizer, or a rule of thumb.

A counter makes a count for each text; a count takes the text as it comes and says how many tokens it has so far.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias, runtime_checkable

from streamkit import plugins
from streamkit.core.wrong_input import warn
from streamkit.errors import PipelineError
from streamkit.events import Channel
from streamkit.plugins.entry_points import unknown
from streamkit.tokens.encodings import load_encoding
from streamkit.tokens.models import encoding_name
from streamkit.tokens.running import RunningCount


class TextCount(Protocol):
    """The tokens of one growing text."""

    def feed(self, text: str) -> None:
        """Take more text."""

    @property
    def tokens(self) -> int:
        """The tokens of all text so far."""
        raise NotImplementedError

    def fork(self) -> "TextCount":
        """Return an independent copy of the running count."""
        raise NotImplementedError

    def state(self) -> Any:
        """Return the state as JSON-compatible data, for a checkpoint."""

    def restore(self, state: Any) -> None:
        """Restore from `state()`, on a fresh count."""


@runtime_checkable
class Counter(Protocol):
    """Makes counts. `name` is what `TokenCount.encoding` says; `exact` whether the model itself counts like this."""

    @property
    def name(self) -> str:
        """Name of the encoding or of the estimate."""
        raise NotImplementedError

    @property
    def exact(self) -> bool:
        """Whether its counts are the model's own, and no estimate."""
        raise NotImplementedError

    def count(self) -> TextCount:
        """A count of a text that begins."""
        raise NotImplementedError


CounterLike: TypeAlias = Counter | str | Callable[[str], int]


class Encoding:
    """Counts by tiktoken's encoding of `model`, exactly while the text grows, at a cost proportional to what is new.

    Loading it takes some tenths of a second, once in a process. An unknown model is counted by a fallback, and a
    warning says so.
    """

    def __init__(self, model: str) -> None:
        self.name, self.exact = encoding_name(model)
        if not self.exact:
            warn(f"the encoding of model {model!r} is not known; {self.name} stands in, and counts are estimates")
        self._encoding = load_encoding(self.name)

    def count(self) -> RunningCount:
        """A count of a text that begins."""
        return RunningCount(self._encoding)


class FunctionCounter:
    """Counts by any `function` of a whole text, which returns its tokens. `name` and `exact` are as in `Counter`.

    Tokenizers in general promise nothing about the tokens of a growing text. So the count is exact at every
    moment because the whole text is counted again, when it is read and only then: cheap at the end, quadratic with
    `Count(running=True)`.
    """

    def __init__(self, function: Callable[[str], int], name: str = "", *, exact: bool = True) -> None:
        self.name = name or getattr(function, "__name__", type(function).__name__)
        self.exact = exact
        self._function = function

    def count(self) -> TextCount:
        """A count of a text that begins."""
        return _Whole(self._function)


class HuggingFace(FunctionCounter):
    """Counts by a tokenizer of Hugging Face's `tokenizers` or `transformers`, without the tokens that frame a text.
    `name` is as in `Counter`.

    Exact when read, as `Function` is. The tokenizer is yours; streamkit imports neither library.
    """

    def __init__(self, tokenizer: Any, name: str = "") -> None:
        def length(text: str) -> int:
            # `tokenizers` gives an object with `ids`, `transformers` the list itself.
            encoded = tokenizer.encode(text, add_special_tokens=False)
            return len(getattr(encoded, "ids", encoded))

        super().__init__(length, name or str(getattr(tokenizer, "name_or_path", "")) or type(tokenizer).__name__)


class Characters:
    """The rule of thumb: `per_token` characters make a token. Always an estimate.

    Four is OpenAI's figure for English; other languages and code have fewer.
    (https://help.openai.com/en/articles/4936856-what-are-tokens-and-how-to-count-them)
    """

    exact = False

    def __init__(self, per_token: int = 4) -> None:
        if per_token < 1:
            raise PipelineError(f"expected one or more characters per token, found {per_token}")
        self.name = f"characters/{per_token}"
        self._per_token = per_token

    def count(self) -> TextCount:
        """A count of a text that begins."""
        return _Length(self._per_token)


class _Whole:
    def __init__(self, function: Callable[[str], int]) -> None:
        self._function = function
        self._pieces: list[str] = []
        self._tokens: int | None = 0

    def feed(self, text: str) -> None:
        self._pieces.append(text)
        self._tokens = None

    @property
    def tokens(self) -> int:
        if self._tokens is None:
            self._pieces = ["".join(self._pieces)]
            self._tokens = self._function(self._pieces[0])
        return self._tokens

    def fork(self) -> TextCount:
        fork = _Whole(self._function)
        fork._pieces, fork._tokens = self._pieces.copy(), self._tokens
        return fork

    def state(self) -> Any:
        return "".join(self._pieces)

    def restore(self, state: Any) -> None:
        self.feed(state)


class _Length:
    def __init__(self, per_token: int) -> None:
        self._per_token = per_token
        self._characters = 0

    def feed(self, text: str) -> None:
        self._characters += len(text)

    @property
    def tokens(self) -> int:
        return -(-self._characters // self._per_token)

    def fork(self) -> TextCount:
        fork = _Length(self._per_token)
        fork._characters = self._characters
        return fork

    def state(self) -> Any:
        return self._characters

    def restore(self, state: Any) -> None:
        self._characters = state


def find_counter(counter: "CounterLike | None", model: str | None) -> Counter:
    """The counter that is meant: an object, a function, a name of `streamkit.counters`, or the encoding of the `model`.

    An installed package offers, under a name of its own in the entry-point group `streamkit.counters`, a function that takes
    the model's name (or `None`) and returns a counter. `characters` is there without any.
    """
    if isinstance(counter, str):
        return _named(counter, model)
    if isinstance(counter, Counter):
        return counter
    if callable(counter):
        return FunctionCounter(counter)
    if counter is not None:
        raise PipelineError(
            f"expected a counter, a function or a name; found an object of type {type(counter).__name__}"
        )
    if model is None:
        raise PipelineError("expected the name of a model or of an encoding, or a counter; found neither")
    return Encoding(model)


def _named(name: str, model: str | None) -> Counter:
    if name == "characters":
        return Characters()
    make = plugins.find("counters", name)
    if make is None:
        raise PipelineError(unknown("counters", name, ("characters",)))
    made = make(model)
    if not isinstance(made, Counter):
        raise PipelineError(f"streamkit.counters: expected {name!r} to make a counter, found a {type(made).__name__}")
    return made


Key: TypeAlias = tuple[int, Channel, int | None]
"""Key of a separately counted text: a channel of a choice, or the arguments of one tool call."""


def state_of(counts: Mapping[Key, TextCount]) -> list[Any]:
    """Counts as plain data."""
    return [[*key, count.state()] for key, count in counts.items()]


def restored(state: list[Any], counter: Counter) -> dict[Key, TextCount]:
    """The counts again, made by the same counter."""
    counts: dict[Key, TextCount] = {}
    for index, channel, tool_index, known in state:
        counts[index, channel, tool_index] = count = counter.count()
        count.restore(known)
    return counts
