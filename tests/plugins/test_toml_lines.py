"""Where things stand in a TOML file: every kind of string, comment and bracket that could lead astray."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit.plugins.toml_lines import line_of, lines

TEXT = r'''
title = "a # no comment ] ["  # [[rule]]

[[rule]]
category = "x" # = 1
phrases = [
  "one", "two",   # ] "three"
  '[[rule]]',
  """
four = \\""
 [ """,
  ["nested", ["deep"]],
]
'quoted key' = { a = [1, 2], b = "}" }
dotted . "key with . dot" = 1979-05-27T07:32:00Z
pattern = ~~~a
[[rule]]
~~~
number = -1.5e3

[ rule.sub ]
x = []

[[ rule ]]
phrases = ["last"]
[other."table"]
y = 1
'''.replace("~~~", "'" * 3)


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("title",), 2),
        (("rule", 0), 4),
        (("rule", 0, "category"), 5),
        (("rule", 0, "phrases"), 6),
        (("rule", 0, "phrases", 0), 7),
        (("rule", 0, "phrases", 1), 7),
        (("rule", 0, "phrases", 2), 8),
        (("rule", 0, "phrases", 3), 9),
        (("rule", 0, "phrases", 4), 12),
        (("rule", 0, "quoted key"), 14),
        (("rule", 0, "dotted", "key with . dot"), 15),
        (("rule", 0, "pattern"), 16),
        (("rule", 0, "number"), 19),
        (("rule", 0, "sub"), 21),
        (("rule", 0, "sub", "x"), 22),
        (("rule", 1), 24),
        (("rule", 1, "phrases", 0), 25),
        (("other", "table"), 26),
        (("other", "table", "y"), 27),
    ],
    ids=str,
)
def test_everything_has_its_line(path: tuple[str | int, ...], line: int) -> None:
    tomllib.loads(TEXT)

    assert lines(TEXT)[path] == line


def test_what_has_no_line_has_that_of_what_it_is_in() -> None:
    found = lines(TEXT)

    assert line_of(found, ("rule", 0, "quoted key", "a", 1)) == 14
    assert line_of(found, ("rule", 1, "category")) == 24
    assert line_of(found, ("nowhere",)) == 1


STRINGS = st.text(st.sampled_from([*"ab[]{}=,.#'\\", "\n", '"']), max_size=6)


def written(text: str, multi: bool) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"""{escaped}"""' if multi else '"' + escaped.replace("\n", "\\n") + '"'


@given(st.lists(st.lists(st.tuples(STRINGS, st.booleans(), st.booleans()), max_size=4), max_size=4))
def test_whatever_stands_in_strings_and_comments_the_lines_are_right(
    tables: list[list[tuple[str, bool, bool]]],
) -> None:
    text, expected = "", dict[tuple[str | int, ...], int]()
    for number, phrases in enumerate(tables):
        expected["rule", number] = text.count("\n") + 1
        text += "[[rule]]\nphrases = ["
        for place, (phrase, multi, breaks) in enumerate(phrases):
            text += '# , ] "\n' * breaks
            expected["rule", number, "phrases", place] = text.count("\n") + 1
            text += written(phrase, multi) + ","
        text += "]\n"

    content = tomllib.loads(text)
    assert [len(table["phrases"]) for table in content.get("rule", [])] == [len(phrases) for phrases in tables]
    found = lines(text)
    assert {path: found[path] for path in expected} == expected
