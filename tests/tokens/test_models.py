"""Models: which encoding each has, and what stands in for one that nobody knows."""

import pytest
from tiktoken.model import MODEL_TO_ENCODING

from streamkit.tokens import counters, encoding_name


@pytest.mark.parametrize(
    ("model", "name", "known"),
    [
        ("gpt-4o", "o200k_base", True),
        ("gpt-4o-mini-2024-07-18", "o200k_base", True),
        ("openai/gpt-4o-mini", "o200k_base", True),
        ("ft:gpt-4o:acme::1", "o200k_base", True),
        ("ft:gpt-4.1-mini:acme::1", "o200k_base", True),
        ("gpt-4.1-nano", "o200k_base", True),
        ("gpt-5-mini", "o200k_base", True),
        ("o1", "o200k_base", True),
        ("o3-pro", "o200k_base", True),
        ("o4-mini-2025-04-16", "o200k_base", True),
        ("gpt-oss-20b", "o200k_harmony", True),
        ("gpt-3.5-turbo", "cl100k_base", True),
        ("gpt-35-turbo", "cl100k_base", True),
        ("gpt-3.5-turbo-instruct", "cl100k_base", True),
        ("gpt-4", "cl100k_base", True),
        ("davinci-002", "cl100k_base", True),
        ("text-davinci-003", "p50k_base", True),
        ("cl100k_base", "cl100k_base", True),
        ("nobody-knows-1", "o200k_base", False),
        ("o33", "o200k_base", False),
        ("", "o200k_base", False),
    ],
)
def test_a_models_encoding_or_a_stand_in(model: str, name: str, known: bool) -> None:
    assert encoding_name(model) == (name, known)


def test_the_table_of_tiktoken_is_kept_to() -> None:
    assert {model: encoding_name(model) for model in MODEL_TO_ENCODING} == {
        model: (name, True) for model, name in MODEL_TO_ENCODING.items()
    }


def test_a_stand_in_is_warned_of_and_named() -> None:
    with pytest.warns(
        UserWarning, match=r"^the encoding of model 'nobody-knows-1' is unknown; o200k_base is used instead"
    ):
        counter = counters.Encoding("nobody-knows-1")

    assert (counter.name, counter.exact) == ("o200k_base", False)
