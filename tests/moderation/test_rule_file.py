"""Rules: what can be said in a file, and how a mistake in it is told."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from streamkit import Moderate, PipelineError, Rule, TextDelta, rules


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


HEAD = "[[rule]]\ncategory = 'x'\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[rule]\n", "rules.toml: Expected ']]' at the end of an array declaration (at line 1, column 7)"),
        ("", "rules.toml, line 1: expected [[rule]] tables, found none"),
        ("\nrule = 1", "rules.toml, line 2: expected [[rule]] tables, found one thing"),
        (
            "rule = [\n{category = 'x', phrases = ['a']},\n1\n]",
            "rules.toml, line 3: expected a [[rule]] table, found 1",
        ),
        ("# rules\n[[rule]]\nphrases = ['a']", "rules.toml, line 2: expected a category, found a rule without one"),
        (f"title = 'a'\n{HEAD}phrases = ['a']", "rules.toml, line 1: expected [[rule]] tables, found 'title'"),
        (f"{HEAD}phrases = 'a'", "rules.toml, line 3: expected phrases as a list of strings, found a string"),
        (
            f"{HEAD}phrases = [\n  'a', # one\n\n  2,\n]",
            "rules.toml, line 6: expected phrases as a list of strings, found an object of type int in it",
        ),
        (
            f"{HEAD}phrases = ['a']\naction = 'delete'",
            "rules.toml, line 4: expected action of allow, annotate, redact, replace, block, stop; found 'delete'",
        ),
        (
            f"{HEAD}phrases = ['a']\nignore_case = 1",
            "rules.toml, line 4: expected ignore_case as true or false, found an object of type int",
        ),
        (
            f"{HEAD}phrases = [\n'a',\n'']",
            "rules.toml, line 5: expected phrases of at least one character, found an empty one",
        ),
        (f"{HEAD}patterns = [\n'a',\n'(']", "rules.toml, line 5: pattern '(': missing ) at position 1"),
        (
            f"{HEAD}channels = ['content', 'tools']\nphrases = ['a']",
            "rules.toml, line 3: expected channels of content, reasoning, refusal, transcript, tool_arguments, tool_name, code,",
        ),
        (
            f"{HEAD}normalize = ['nfk']\nphrases = ['a']",
            "rules.toml, line 3: expected normalize of case, nfkc, accents, look_alikes, leet, zero_width; found 'nfk'",
        ),
        (f"{HEAD}phrases = ['\u00ad']\nnormalize = ['zero_width']", "the phrase '\\xad' has no character left"),
        (f"{HEAD}check = 'no such'", "rules.toml, line 3: check: expected one of the moderators "),
        (
            f"{HEAD}phrases_file = 'none.txt'",
            "rules.toml, line 3: phrases_file: 'none.txt' can't be read: No such file or dir",
        ),
        (
            HEAD,
            "rules.toml, line 1: rule 'x': expected phrases, patterns, detectors or a check, found none of them",
        ),
        (
            f"{HEAD}detectors = ['e-mail']",
            "rules.toml, line 3: expected detectors of anthropic_key, api_key, aws_key, card, email,",
        ),
        (
            f"{HEAD}phrases = ['a']\nmax_match = 0",
            "rules.toml, line 4: expected a max_match above 0, found 0",
        ),
        (
            f"{HEAD}phrases_file = ''",
            "rules.toml, line 3: expected phrases_file as the name of a file, found an empty str",
        ),
        (
            f"{HEAD}phrases = ['a']\nchannels = [\n'content',\n'prompt']",
            "rules.toml, line 6: expected channels of content,",
        ),
        (f"{HEAD}category = 'y'", "rules.toml: Cannot overwrite a value (at line 3, column 15)"),
    ],
    ids=[
        "no TOML",
        "no rule",
        "no table",
        "something else among inline tables",
        "no category",
        "an unknown table",
        "a phrase that is no list",
        "a phrase that is no text, in a list of many lines",
        "an unknown action",
        "a number for a yes or no",
        "an empty phrase",
        "a bad pattern",
        "an unknown channel",
        "an unknown normalization",
        "a phrase of which nothing is left",
        "a check that no package offers",
        "a list of phrases that is not there",
        "nothing to match",
        "an unknown detector",
        "a bound of nothing",
        "no name of a file",
        "a channel that is no text of an answer",
        "a key twice, in the last line",
    ],
)
def test_a_mistake_in_a_file_is_told_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(PipelineError) as caught:
        rules.from_file(write(tmp_path, text))

    assert message in str(caught.value)


def test_an_unknown_key_is_told_with_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"line 3: expected a key of category, phrases, .*fail; found 'phrase'$"):
        rules.from_file(write(tmp_path, f"{HEAD}phrase = ['a']\nphrases = ['a']"))


def test_all_mistakes_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    text = f"{HEAD}phrases = ['']\nwords = 1\n\n{HEAD}patterns = ['[']\n"

    with pytest.raises(PipelineError) as caught:
        rules.from_file(write(tmp_path, text))

    assert [line.split(":")[0] for line in str(caught.value).splitlines()] == [
        "rules.toml, line 3",
        "rules.toml, line 4",
        "rules.toml, line 8",
    ]


def test_a_rule_may_say_all_that_a_rule_can(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """
        [[rule]]
        category = "leak"
        phrases = ["ACME"]
        phrases_file = "names.txt"
        detectors = ["card", "api_key"]
        action = "stop"
        message = "This can't be shown."
        severity = "high"
        channels = ["content", "reasoning"]
        normalize = ["nfkc", "zero_width"]
        max_match = 100
        seconds = 1
        fail = "open"

        [[rule]]
        category = "name"
        whole_words = true
        phrases = ["Al"]
        """,
    )
    (tmp_path / "names.txt").write_text("Zoë Doe\n\n  Jim Roe  \r\n", encoding="utf-8-sig")

    first, second = rules.from_file(path)

    assert first == Rule(
        "leak",
        phrases=("ACME", "Zoë Doe", "Jim Roe"),
        detectors=("card", "api_key"),
        action="stop",
        message="This can't be shown.",
        severity="high",
        channels=("content", "reasoning"),
        normalize=("nfkc", "zero_width"),
        max_match=100,
        seconds=1.0,
        fail="open",
    )
    assert second == Rule("name", phrases=("Al",), whole_words=True)


def test_a_file_that_is_not_utf_8_is_a_mistake_too(tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_bytes(b"[[rule]]\ncategory = '\xff'")

    with pytest.raises(PipelineError, match=r"^rules\.toml: .*utf-8"):
        rules.from_file(path)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("rules.toml", "No such file or directory"), ("", "Is a directory"), ("a\0b", "its name can't be that of a file")],
)
@pytest.mark.parametrize("read", [rules.from_file, rules.Live, Moderate], ids=lambda read: read.__name__)
def test_a_file_that_can_not_be_read_is_a_mistake_with_its_path(
    read: Callable[[str], object], name: str, reason: str, tmp_path: Path
) -> None:
    path = os.path.join(tmp_path, name) if name else str(tmp_path)

    with pytest.raises(PipelineError) as caught:
        read(path)

    shown = path if path.isprintable() else repr(path)[1:-1]
    assert str(caught.value) == f"{shown} can't be read: {reason}"


def test_what_is_no_path_is_not_read() -> None:
    for read in (rules.from_file, rules.Live):
        with pytest.raises(PipelineError, match="expected a path, found an object of type int"):
            read(cast(Any, 5))
    with pytest.raises(PipelineError, match=r"expected rules .*, found an object of type int"):
        Moderate(cast(Any, 5))


@pytest.mark.parametrize("pattern", ["(", "a{2,1}", "(?P<x", "*", "(" * 5000, "[a-"])
def test_an_invalid_pattern_fails_when_the_rule_is_created(pattern: str) -> None:
    with pytest.raises(PipelineError, match=r"^rule 'x', pattern '") as caught:
        Rule("x", patterns=("fine", pattern))

    assert len(str(caught.value)) < 200


RULE = Rule("x", phrases=("a",))


def test_one_rule_or_many_are_a_tuple() -> None:
    assert rules.as_rules(RULE) == (RULE,)
    assert rules.as_rules([RULE, RULE]) == (RULE, RULE)
    assert rules.as_rules(rule for rule in [RULE]) == (RULE,)


def test_what_is_no_rule_is_said_and_not_shown() -> None:
    with pytest.raises(PipelineError, match=r"expected rules \(streamkit\.Rule\(…\)\), found an object of type str$"):
        rules.as_rules([RULE, "secret"])  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"phrases": "abc"}, "expected phrases as a list of strings, found a string"),
        ({"phrases": ("a", "")}, "expected phrases of at least one character, found an empty one"),
        (
            {"phrases": ("a",), "action": "flag"},
            "expected action of allow, annotate, redact, replace, block, stop; found 'flag'",
        ),
        ({"phrases": ("a",), "channels": ("audio",)}, "expected channels of content, reasoning, refusal, "),
        (
            {"phrases": ("a",), "normalize": ("NFC",)},
            "expected normalize of case, nfkc, accents, look_alikes, leet, zero_width;",
        ),
        ({"phrases": ("a",), "fail": "shut"}, "expected fail of closed, open; found 'shut'"),
        ({"check": print, "window": -1}, "expected a window above 0, found -1"),
        ({}, "expected phrases, patterns, detectors or a check, found none of them"),
    ],
    ids=["a text for a list", "an empty phrase", "action", "channel", "normalize", "fail", "window", "nothing"],
)
def test_a_mistake_in_a_rule_is_told_when_it_is_made(fields: dict[str, object], message: str) -> None:
    with pytest.raises(PipelineError) as caught:
        Rule("x", **fields)  # type: ignore[arg-type]

    assert str(caught.value).startswith(f"rule 'x': {message}")


def test_lists_are_as_good_as_tuples() -> None:
    assert Rule("x", phrases=["a"], channels=["content"]) == Rule("x", phrases=("a",), channels=("content",))  # type: ignore[arg-type]


# Rules that follow a file


def test_a_file_that_changes_gives_the_runs_that_begin_after_it_its_rules(tmp_path: Path) -> None:
    path = write(tmp_path, f"{HEAD}phrases = ['one']")
    live = rules.Live(path)
    moderate = Moderate(live)
    before = moderate.fresh()

    write(tmp_path, f"{HEAD}phrases = ['two', 'three']")
    after = moderate.fresh()

    def read(stage: Moderate) -> str:
        events = [*stage.feed(TextDelta("one two ")), *stage.flush()]
        return "".join(event.text for event in events if isinstance(event, TextDelta))

    assert read(before) == "[redacted] two "
    assert read(after) == "one [redacted] "


def test_a_file_with_a_mistake_leaves_the_rules_as_they_are_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    said: list[Exception] = []
    path = write(tmp_path, f"{HEAD}phrases = ['one']")
    live = rules.Live(path, on_error=said.append)

    write(tmp_path, f"{HEAD}phrases = ['two', '']")
    assert live.rules == live.rules == (Rule("x", phrases=("one",)),)
    assert str(live.error) == "rules.toml, line 3: expected phrases of at least one character, found an empty one"
    assert said == [live.error]
    assert caplog.messages == [f"the rules stay as they are: {live.error}"]

    write(tmp_path, f"{HEAD}phrases = ['three']")
    assert live.rules == (Rule("x", phrases=("three",)),)
    assert live.error is None


def test_a_file_that_is_gone_leaves_the_rules_as_they_are(tmp_path: Path) -> None:
    path = write(tmp_path, f"{HEAD}phrases = ['one']")
    live = rules.Live(path)

    path.unlink()

    assert live.rules == (Rule("x", phrases=("one",)),)
    assert str(live.error) == f"{path} can't be read: No such file or directory"


def test_a_list_of_phrases_is_followed_too(tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("one")
    live = rules.Live(write(tmp_path, f"{HEAD}phrases_file = 'names.txt'"))

    names.write_text("one\ntwo")

    assert list(live) == [Rule("x", phrases=("one", "two"))]


def test_the_first_file_must_be_right(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="found none"):
        rules.Live(write(tmp_path, ""))


def test_reading_can_be_asked_for(tmp_path: Path) -> None:
    live = rules.Live(write(tmp_path, f"{HEAD}phrases = ['one']"))

    assert live.reload() is True
    write(tmp_path, "")
    assert live.reload() is False
