"""Counters: another tokenizer, a function, a rule of thumb, or a package's."""

from types import SimpleNamespace
from typing import Any

import pytest

from streamkit import PipelineError, plugins
from streamkit.tokens import Counter, counters, find_counter

DELTAS = ["Hello", ", wor", "ld and", " more"]


class Words:
    """Shaped like `tokenizers.Tokenizer`: an object with `ids` comes out."""

    def encode(self, text: str, add_special_tokens: bool = True) -> Any:
        ids = ["<s>"] * add_special_tokens + text.split()
        return SimpleNamespace(ids=ids)


class ListOfWords(Words):
    """Shaped like a tokenizer of `transformers`: a list comes out, and it has a name."""

    name_or_path = "acme/words"

    def encode(self, text: str, add_special_tokens: bool = True) -> Any:
        return super().encode(text, add_special_tokens).ids


@pytest.mark.parametrize(
    ("counter", "name", "exact", "tokens"),
    [
        (counters.Encoding("gpt-4o"), "o200k_base", True, [1, 3, 4, 5]),
        (counters.HuggingFace(Words()), "Words", True, [1, 2, 3, 4]),
        (counters.HuggingFace(ListOfWords()), "acme/words", True, [1, 2, 3, 4]),
        (counters.FunctionCounter(len, "bytes"), "bytes", True, [5, 10, 16, 21]),
        (counters.FunctionCounter(len, exact=False), "len", False, [5, 10, 16, 21]),
        (counters.Characters(), "characters/4", False, [2, 3, 4, 6]),
        (counters.Characters(3), "characters/3", False, [2, 4, 6, 7]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_counts_the_whole_text_however_it_comes(
    counter: Counter, name: str, exact: bool, tokens: list[int]
) -> None:
    count, seen = counter.count(), list[int]()
    for delta in DELTAS:
        count.feed(delta)
        seen.append(count.tokens)
    fork, again = count.fork(), counter.count()
    fork.feed("!!!!!!!! one")
    again.restore(count.state())

    assert (counter.name, counter.exact, seen) == (name, exact, tokens)
    assert (count.tokens, again.tokens) == (tokens[-1], tokens[-1])
    assert fork.tokens > tokens[-1]


def test_a_function_is_asked_only_when_the_count_is_read() -> None:
    asked: list[str] = []
    count = counters.FunctionCounter(lambda text: asked.append(text) or 7).count()  # type: ignore[func-returns-value]
    for delta in DELTAS:
        count.feed(delta)

    assert (count.tokens, count.tokens) == (7, 7)
    assert asked == ["Hello, world and more"]


def test_a_package_offers_a_counter_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(group: str, name: str) -> Any:
        assert group == "counters"
        return (lambda model: counters.FunctionCounter(len, f"{name} for {model}")) if name == "acme" else None

    monkeypatch.setattr(plugins, "find", find)

    assert find_counter("acme", "m").name == "acme for m"
    with pytest.raises(PipelineError, match="expected one of the counters characters; found 'nobody'"):
        find_counter("nobody", None)


@pytest.mark.parametrize(
    ("counter", "message"),
    [(7, "expected a counter, a function or a name; found an object of type int"), (None, "found neither")],
)
def test_what_cannot_count_is_refused(counter: Any, message: str) -> None:
    with pytest.raises(PipelineError, match=message):
        find_counter(counter, None)


def test_what_a_package_makes_must_be_a_counter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "find", lambda group, name: lambda model: model)

    with pytest.raises(PipelineError, match="expected 'acme' to make a counter, found a str"):
        find_counter("acme", "m")


def test_fewer_than_one_character_a_token_is_refused() -> None:
    with pytest.raises(PipelineError, match="expected one or more characters per token, found 0"):
        counters.Characters(0)
