"""Rules: what can be said in a file, and how a mistake in it is told."""

from pathlib import Path

import pytest

from streamkit import PipelineError, Rule, rules


def write(folder: Path, text: str) -> Path:
    path = folder / "rules.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_rules_come_from_a_file(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """
        # What must not leave.
        [[rule]]
        category = "secret"
        phrases = ["blue heron 42", "Zürich"]

        [[rule]]
        category = "phone"
        patterns = ['\\d{3}-\\d{4}']
        action = "block"
        ignore_case = false

        [[rule]]
        category = "name"
        phrases = ["Alice"]
        replacement = ""
        """,
    )

    assert rules.from_file(path) == (
        Rule("secret", phrases=("blue heron 42", "Zürich")),
        Rule("phone", patterns=("\\d{3}-\\d{4}",), action="block", ignore_case=False),
        Rule("name", phrases=("Alice",), replacement=""),
    )
    assert rules.from_file(str(path)) == rules.from_file(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[rule]\n", r"rules\.toml: .*line 1"),
        ("", r"rules\.toml: Object missing required field `rule`"),
        ("rule = 1", r"rules\.toml: Expected `array`, got `int` - at `\$\.rule`"),
        ("[[rule]]\nphrases = ['a']", r"rules\.toml: Object missing required field `category` - at `\$\.rule\[0\]`"),
        ("[[rule]]\ncategory = 'x'\nphrase = ['a']", r"rules\.toml: Object contains unknown field `phrase`"),
        (
            "[[rule]]\ncategory = 'x'\nphrases = 'a'",
            r"rules\.toml: Expected `array`, got `str` - at `\$\.rule\[0\]\.phrases`",
        ),
        ("[[rule]]\ncategory = 'x'\nphrases = ['a']\naction = 'delete'", r"rules\.toml: Invalid enum value 'delete'"),
        ("[[rule]]\ncategory = 'x'", "rule 'x': expected phrases or patterns, found neither"),
        (
            "[[rule]]\ncategory = 'x'\nphrases = ['a', '']",
            "rule 'x': expected phrases of at least one character, found an empty one",
        ),
    ],
    ids=[
        "no TOML",
        "no rule",
        "no table",
        "no category",
        "an unknown field",
        "a phrase that is no list",
        "an unknown action",
        "nothing to match",
        "an empty phrase",
    ],
)
def test_a_mistake_in_a_file_is_told_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(PipelineError, match=message):
        rules.from_file(write(tmp_path, text))


def test_a_file_that_is_not_utf_8_is_a_mistake_too(tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_bytes(b"[[rule]]\ncategory = '\xff'")

    with pytest.raises(PipelineError, match=r"^rules\.toml: .*utf-8"):
        rules.from_file(path)


def test_a_file_that_is_not_there_is_said_by_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        rules.from_file(tmp_path / "rules.toml")


RULE = Rule("x", phrases=("a",))


def test_one_rule_or_many_are_a_tuple() -> None:
    assert rules.as_rules(RULE) == (RULE,)
    assert rules.as_rules([RULE, RULE]) == (RULE, RULE)
    assert rules.as_rules(rule for rule in [RULE]) == (RULE,)


def test_what_is_no_rule_is_said_and_not_shown() -> None:
    with pytest.raises(PipelineError, match=r"expected rules \(streamkit\.Rule\(…\)\), found an object of type str$"):
        rules.as_rules([RULE, "secret"])  # type: ignore[list-item]
