"""The lines of keys and elements in a JSON document."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from streamkit.plugins.json_lines import lines

TEXT = r"""{
  "a": [1, "],{",
        {"b": "\"}", "c\u0041": null},
        []
  ],
  "d": {
    "e": {}, "f":
      [true, [
        2]]
  }
}"""


def test_every_key_and_element_has_its_line() -> None:
    assert lines(TEXT) == {
        ("a",): 2,
        ("a", 0): 2,
        ("a", 1): 2,
        ("a", 2): 3,
        ("a", 2, "b"): 3,
        ("a", 2, "cA"): 3,
        ("a", 3): 4,
        ("d",): 6,
        ("d", "e"): 7,
        ("d", "f"): 7,
        ("d", "f", 0): 8,
        ("d", "f", 1): 8,
        ("d", "f", 1, 0): 9,
    }


def test_a_document_of_one_value_has_no_lines() -> None:
    assert lines('"a"') == lines("1") == lines("[]") == lines("{}") == {}


VALUES = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, inner in pairs for found in ((*path, key), *paths(inner, (*path, key)))]


@given(value=VALUES, ascii=st.booleans())
def test_the_paths_are_those_of_the_document_in_order(value: Any, ascii: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii, indent=1)

    found = lines(text)

    assert list(found) == paths(value)
    # With an indent, every key and element begins its own line.
    assert len(set(found.values())) == len(found)
