"""Token counters: a tiktoken encoding, another library's tokenizer, or an estimate by number of characters.

A counter creates one count per text. A count receives the text in pieces and returns the number of tokens so far.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias, cast, runtime_checkable

from streamkit import plugins
from streamkit.core.wrong_input import kind_of, warn
from streamkit.errors import PipelineError
from streamkit.events import Channel
from streamkit.plugins.entry_points import check_name, unknown
from streamkit.tokens.encodings import load_encoding
from streamkit.tokens.models import encoding_name
from streamkit.tokens.running import RunningCount

_OWN = ("characters",)


class TextCount(Protocol):
    """The token count of one text that arrives in pieces."""

    def feed(self, text: str) -> None:
        """Add more text."""

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
    """Creates token counts. `name` is used as `TokenCount.encoding`; `exact` is whether the model counts in the same way."""

    @property
    def name(self) -> str:
        """The name of the encoding or the estimate."""
        raise NotImplementedError

    @property
    def exact(self) -> bool:
        """Whether the counts equal the model's own; false for an estimate."""
        raise NotImplementedError

    def count(self) -> TextCount:
        """Create a count for a new text."""
        raise NotImplementedError


CounterLike: TypeAlias = Counter | str | Callable[[str], int]


class Encoding:
    """Count with tiktoken's encoding of `model`, exactly at any time, at a cost proportional to the new text.

    Loading an encoding takes some tenths of a second, once per process. An unknown model uses a fallback encoding and emits a
    warning.
    """

    def __init__(self, model: str) -> None:
        self.name, self.exact = encoding_name(model)
        if not self.exact:
            warn(f"the encoding of model {model!r} is unknown; {self.name} is used instead, and counts are estimates")
        self._encoding = load_encoding(self.name)

    def count(self) -> RunningCount:
        """Create a count for a new text."""
        return RunningCount(self._encoding)


class FunctionCounter:
    """Count with any `function` that returns the number of tokens of a whole text. `name` and `exact` are as in `Counter`.

    Tokenizers generally don't guarantee that the tokens of a text stay the same when text is appended. The count is therefore
    exact because the whole text is counted again whenever the count is read: cheap if it is read once at the end, quadratic with
    `Count(running=True)`.
    """

    def __init__(self, function: Callable[[str], int], name: str = "", *, exact: bool = True) -> None:
        self.name = name or getattr(function, "__name__", type(function).__name__)
        self.exact = exact
        self._function = function

    def count(self) -> TextCount:
        """Create a count for a new text."""
        return _Whole(self._function)


class HuggingFace(FunctionCounter):
    """Count with a tokenizer of Hugging Face's `tokenizers` or `transformers`, without special tokens. `name` is as in `Counter`.

    The whole text is counted again whenever the count is read, as with `FunctionCounter`. streamkit imports neither library.
    """

    def __init__(self, tokenizer: Any, name: str = "") -> None:
        def length(text: str) -> int:
            # `tokenizers` returns an object with `ids`, `transformers` returns the list.
            encoded = tokenizer.encode(text, add_special_tokens=False)
            return len(getattr(encoded, "ids", encoded))

        super().__init__(length, name or str(getattr(tokenizer, "name_or_path", "")) or type(tokenizer).__name__)


class Characters:
    """Estimate tokens from the number of characters: `per_token` characters are one token. `exact` is always false.

    Four is OpenAI's value for English; other languages and code have fewer characters per token.
    (https://help.openai.com/en/articles/4936856-what-are-tokens-and-how-to-count-them)
    """

    exact = False

    def __init__(self, per_token: int = 4) -> None:
        if per_token < 1:
            raise PipelineError(f"expected one or more characters per token, found {per_token}")
        self.name = f"characters/{per_token}"
        self._per_token = per_token

    def count(self) -> TextCount:
        """Create a count for a new text."""
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
    """Resolve a counter: an object, a function, a name in `streamkit.counters`, or by default the encoding of `model`.

    A package registers a counter under a name in the entry-point group `streamkit.counters`, as a function that takes the model's
    name (or `None`) and returns a counter. `characters` is built in.
    """
    if isinstance(counter, str):
        return _named(counter, model)
    check_counter(counter, model)
    if isinstance(counter, Counter):
        return counter
    return Encoding(cast(str, model)) if counter is None else FunctionCounter(counter)


def check_counter(counter: "CounterLike | None", model: str | None) -> None:
    """Raise `PipelineError` for arguments that `find_counter` can't resolve. Loads neither a plugin nor an encoding."""
    if isinstance(counter, str):
        check_name("counters", counter, _OWN)
    elif counter is None and model is None:
        raise PipelineError("expected `model`, the name of a model or of an encoding, or `counter`; found neither")
    elif not (counter is None or isinstance(counter, Counter) or callable(counter)):
        raise PipelineError(f"expected a counter, a function or a name; found {kind_of(counter)}")


def _named(name: str, model: str | None) -> Counter:
    if name in _OWN:
        return Characters()
    make = plugins.find("counters", name)
    if make is None:
        raise PipelineError(unknown("counters", name, _OWN))
    made = make(model)
    if not isinstance(made, Counter):
        raise PipelineError(f"streamkit.counters: expected {name!r} to make a counter, found a {type(made).__name__}")
    return made


Key: TypeAlias = tuple[int, Channel, int | None]
"""Key of a separately counted text: a channel of a choice, or the arguments of one tool call."""


def state_of(counts: Mapping[Key, TextCount]) -> list[Any]:
    """The counts as plain data."""
    return [[*key, count.state()] for key, count in counts.items()]


def restored(state: list[Any], counter: Counter) -> dict[Key, TextCount]:
    """Restore the result of `state_of` with the same counter."""
    counts: dict[Key, TextCount] = {}
    for index, channel, tool_index, known in state:
        counts[index, channel, tool_index] = count = counter.count()
        count.restore(known)
    return counts
