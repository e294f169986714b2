"""Pipeline files and rule files that somebody has tampered with, or that are none: `PipelineError`, and nothing else."""

import json
import os
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import streamkit as sk
from streamkit import ops
from streamkit.plugins import pipeline_files as pipelines
from tests.hostile import cyclic, nested, tampered, values

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "150"))
thorough = settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
SECRET = "blue heron 42"
LONGEST = 15_000

VALID: list[Any] = [
    [
        {"use": "Parse", "comments": True},
        {"use": "Extract", "dialect": "openai"},
        {
            "use": "Moderate",
            "rules": [{"category": "x", "phrases": [SECRET], "patterns": ["a+"], "action": "block", "seconds": 0.5}],
            "channels": ["content"],
            "max_hold_seconds": 3.5,
        },
        {"use": "Switch", "choose": {"named": "builtins:str"}, "branches": {"a": [{"use": "Take", "count": 2}]}},
        {"use": "StopAt", "stops": ["\n"], "channels": ["content"]},
        {"use": "Select", "types": ["TextDelta", "Finish"]},
        {"use": "Batch", "size": 3, "seconds": 0.5},
    ],
    [{"use": "Count", "model": "gpt-4o", "prices": {"currency": "USD", "models": {"*": {"input": 1, "output": 2.5}}}}],
    [{"use": "Classify", "classifier": {"named": "tests.written:judge"}, "windows": {"chars": 100, "overlap": 5}}],
    [{"use": "Budget", "tokens": 5, "model": "gpt-4o"}, {"use": "Structured", "errors": "emit"}],
    [{"use": "Smooth", "by": "word"}, {"use": "Debounce", "seconds": 1.0}, {"use": "Choices", "index": [0, 1]}],
    [{"use": "tests.written:Translate", "language": "fr"}, {"use": "tests.written:shout"}],
    [{"use": "streamkit.hops:Threaded", "stage": [{"use": "Timing"}], "over": 5}, {"use": "Emit", "id": "a"}],
]


def reading(read: Any, *arguments: Any) -> str:
    """The message of the error, which must be the right one; empty if there is none."""
    try:
        read(*arguments)
    except sk.PipelineError as error:
        message = str(error)
        assert len(message) <= LONGEST
        assert message.replace("\n", "").isprintable()
        return message
    return ""


@pytest.mark.parametrize("valid", VALID, ids=lambda tables: tables[0]["use"])
def test_data_that_was_tampered_with_is_a_pipeline_or_a_pipeline_error(valid: Any) -> None:
    assert reading(pipelines.from_data, valid) == ""

    @thorough
    @given(st.data())
    def check(data: st.DataObject) -> None:
        reading(pipelines.from_data, data.draw(st.composite(tampered)(valid)))

    check()


@pytest.mark.parametrize("valid", VALID, ids=lambda tables: tables[0]["use"])
def test_json_that_was_tampered_with_is_a_pipeline_or_a_pipeline_error(valid: Any) -> None:
    @thorough
    @given(st.data())
    def check(data: st.DataObject) -> None:
        try:
            text = json.dumps({"stage": data.draw(st.composite(tampered)(valid))})
        except ValueError:  # of a number that Python does not write
            text = '{"stage": [{"use": "Take", "count": ' + "9" * 5000 + "}]}"
        reading(pipelines.loads, text, "json")

    check()


FRAGMENTS = st.sampled_from(
    [
        "[", "]", "[[", "]]", "{", "}", '"', "'", '"""', "'''", "=", ",", ".", "\n", "\r", "\r\n", "\\", "#", "\0", "\x0b",
        "\u2028", "\ufeff", "\\ud83d", "\\u0000", "é", "9" * 5000, "1e999", "nan", "-inf", "0x_", "true", "null",
        "1979-05-27T07:32:00Z", "07:32:00", "[[stage]]", "[[rule]]", "[rule]", "[stage.x]", "rule = 5", "use = 3",
        'use = "Take"', 'phrases_file = "a\\u0000b"', 'phrases_file = "."', 'patterns = ["("]', "seconds = nan",
        "max_match = -1", "[" * 3000, "{a=" * 300, "a." * 300,
    ]
)  # fmt: skip


def edited(draw: st.DrawFn, text: str) -> str:
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(text)))
        cut = draw(st.integers(0, 30))
        text = text[:at] + draw(FRAGMENTS | st.text(max_size=3)) + text[at + cut :]
    return text


TEXTS = [pipelines.dumps(pipelines.from_data(valid)) for valid in VALID]


@pytest.mark.parametrize("format", ["toml", "json"])
def test_text_that_was_tampered_with_is_a_pipeline_or_a_pipeline_error(format: pipelines.Format) -> None:
    texts = TEXTS if format == "toml" else [json.dumps({"stage": valid}, indent=1) for valid in VALID]

    @thorough
    @given(st.data())
    def check(data: st.DataObject) -> None:
        reading(pipelines.loads, data.draw(st.composite(edited)(data.draw(st.sampled_from(texts)))), format)

    check()


RULES = f"""\
# What must not leave.
[[rule]]
category = "secret"
phrases = ["{SECRET}", "b"]
phrases_file = "more.txt"
patterns = ['\\d+-\\d{{4}}', "a|b"]
action = "block"
message = "No."

[[rule]]
category = "key"
detectors = ["api_key"]
normalize = ["nfkc", "leet"]
channels = ["content"]
whole_words = true
max_match = 100
seconds = 0.5
fail = "open"
"""


def test_rules_that_were_tampered_with_are_rules_or_a_pipeline_error(tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text("one\ntwo\n")
    file = tmp_path / "rules.toml"
    file.write_text(RULES)
    assert reading(sk.rules.from_file, file) == ""

    @thorough
    @given(st.data())
    def check(data: st.DataObject) -> None:
        text = data.draw(st.composite(edited)(RULES))
        file.write_bytes(text.encode("utf-8", "surrogatepass"))
        message = reading(sk.rules.from_file, file)
        assert SECRET not in message
        assert (message == "") is (reading(sk.Moderate, file) == "")

    check()


@given(st.binary(max_size=200))
@settings(max_examples=100, suppress_health_check=list(HealthCheck))
def test_a_file_of_any_bytes_is_a_pipeline_error(tmp_path: Path, content: bytes) -> None:
    for name, read in (
        ("a.toml", pipelines.from_file),
        ("a.json", pipelines.from_file),
        ("a.toml", sk.rules.from_file),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(sk.PipelineError):
            read(tmp_path / name)


@given(st.lists(values, max_size=3), st.sampled_from([field.name for field in fields(sk.Rule)]), values)
@settings(max_examples=400)
def test_a_rule_of_any_values_is_a_rule_or_a_pipeline_error(phrases: list[Any], name: str, value: Any) -> None:
    options: dict[str, Any] = {"category": "x", "phrases": phrases, name: value}

    reading(lambda: sk.Rule(**options))


DEEP = "[" * 100_000
WHOLE: dict[str, tuple[str, str, str]] = {
    "deep TOML": ("p.toml", f"stage = {DEEP}", "p.toml: expected data nested at most 50 deep"),
    "deep JSON": ("p.json", f'{{"stage": {DEEP}', "p.json: expected data nested at most 50 deep"),
    "deep options": (
        "p.json",
        json.dumps([{"use": "Take", "count": nested(100)}]),
        "p.json: expected data nested at most 50 deep",
    ),
    "a large number in TOML": ("p.toml", f'[[stage]]\nuse = "Take"\ncount = {"9" * 5000}', "p.toml: "),
    "a large number in JSON": ("p.json", f'[{{"use": "Take", "count": {"9" * 5000}}}]', "p.json: "),
    "a NUL": ("p.toml", '[[stage]]\nuse = "Par\0se"', "p.toml: "),
    "an escaped NUL": ("p.toml", '[[stage]]\nuse = "Par\\u0000se"', "p.toml: line 1: expected one of"),
    "a NUL in a file's name": (
        "p.toml",
        '[[stage]]\nuse = "Moderate"\nrules = "a\\u0000b"',
        "a\\x00b can't be read: its name can't be that of a file",
    ),
    "a folder as rules": ("p.toml", '[[stage]]\nuse = "Moderate"\nrules = "."', "can't be read: Is a directory"),
    "half of a pair": (
        "p.json",
        '[{"use": "StopAt", "stops": "\\ud83d"}]',
        "p.json: expected text, found half of a surrogate pair",
    ),
    "a truth for a number": (
        "p.json",
        '[{"use": "Take", "count": true}]',
        "p.json: line 1: Take, count: Expected `int`, got `bool`",
    ),
    "no number": (
        "p.json",
        '[{"use": "Debounce", "seconds": NaN}]',
        "p.json: line 1: seconds: expected seconds, more than 0",
    ),
    "a bracket before the list": ("p.json", '{"[": [], "stage": []}', "p.json: expected a list of stages"),
    "a base of stages": (
        "p.toml",
        '[[stage]]\nuse = "streamkit.core.stage:Stage"',
        "Stage is no stage that can be made",
    ),
    "no stages": ("p.json", '[{"use": "streamkit.core.stage:Pipeline", "stages": []}]', "p.json: line 1: "),
    "a module that ends the program": (
        "p.toml",
        '[[stage]]\nuse = "tests.exits:x"',
        "p.toml: line 1: 'tests.exits:x' can't be imported: SystemExit",
    ),
    "a long name": ("p.toml", f'[[stage]]\nuse = "{"x" * 100_000}"', "p.toml: line 1: expected one of"),
    "a long option": (
        "p.toml",
        f'[[stage]]\nuse = "Take"\n{"x" * 100_000} = 1',
        "p.toml: line 3: Take has no option 'xxx",
    ),
    "deep rules": ("r.toml", f"rule = {DEEP}", "r.toml: expected rules, found data that is nested too deep"),
    "a large number in rules": ("r.toml", f"rule = {'9' * 5000}", "r.toml: "),
    "rules with a NUL": ("r.toml", "a\0b", "r.toml: "),
    "a table that is a text": (
        "r.toml",
        'rule = "secret words"',
        "r.toml, line 1: expected [[rule]] tables, found one thing",
    ),
    "a phrase that is a number": (
        "r.toml",
        '[[rule]]\ncategory = "x"\nphrases = ["secret words", 5]',
        "r.toml, line 3: expected phrases as a list of strings, found an object of type int in it",
    ),
    "many mistakes": ("r.toml", "[[rule]]\n" * 10_000, "and 9980 more"),
    "a long key": ("r.toml", f"{'x' * 100_000} = 1", "r.toml, line 1: expected [[rule]] tables, found 'xxx"),
    "a long pattern": (
        "r.toml",
        f'[[rule]]\ncategory = "x"\npatterns = ["({"x" * 100_000}"]',
        "r.toml, line 3: pattern '(xxx",
    ),
    "no number in rules": (
        "r.toml",
        '[[rule]]\ncategory = "x"\nphrases = ["a"]\nseconds = nan',
        "r.toml, line 4: expected a seconds above 0",
    ),
    "a truth in rules": (
        "r.toml",
        '[[rule]]\ncategory = "x"\nphrases = ["a"]\nwindow = true',
        "r.toml, line 4: expected window as a whole number, found an object of type bool",
    ),
}


@pytest.mark.parametrize(("name", "text", "message"), WHOLE.values(), ids=WHOLE.keys())
def test_what_is_wrong_is_said_within_bounds(name: str, text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")

    said = reading(pipelines.from_file if name.startswith("p") else sk.rules.from_file, tmp_path / name)

    assert message in said
    assert "secret" not in said


@pytest.mark.parametrize("read", [pipelines.from_file, sk.rules.from_file, sk.replay], ids=lambda read: read.__name__)
@pytest.mark.parametrize("path", [None, 5, b"a.toml", ["a"]], ids=repr)
def test_what_is_no_path_is_said(read: Any, path: object) -> None:
    assert reading(read, path).startswith("expected a path, found an object of type ")


@pytest.mark.parametrize("name", ["none.toml", ".", "a\0b", "x" * 5000, "none/none.json"])
def test_a_file_that_can_not_be_read_is_said_with_its_path(name: str, tmp_path: Path) -> None:
    for read in (pipelines.from_file, sk.rules.from_file):
        assert " can't be read: " in reading(read, os.path.join(tmp_path, name))


def test_a_file_without_an_end_is_not_read_to_it() -> None:
    if not os.path.exists("/dev/zero"):
        pytest.skip("no such device here")
    for read in (pipelines.from_file, sk.rules.from_file):
        assert reading(read, "/dev/zero") == "/dev/zero can't be read: expected at most 16777216 bytes, found more"


@pytest.mark.parametrize(
    "data", [None, 5, "Parse", {"use": "Parse"}, b"Parse", [None], [[]], [{}], [{"use": 5}], [cyclic()]], ids=repr
)
def test_data_that_is_no_pipeline_is_said(data: Any) -> None:
    assert reading(pipelines.from_data, data)


@pytest.mark.parametrize(("text", "format"), [(None, "toml"), (b"", "json"), (5, "json"), ("[]", "yaml")])
def test_what_is_no_text_or_no_format_is_said(text: Any, format: Any) -> None:
    assert reading(pipelines.loads, text, format).startswith("expected the ")


@pytest.mark.parametrize(
    ("number", "message"),
    [(499, "line 501: Take needs count"), (500, "expected at most 500 stages, found 501")],
    ids=["as many as there may be", "more"],
)
def test_stages_without_number_are_said(number: int, message: str) -> None:
    text = "[\n" + ",\n".join(['{"use": "Timing"}'] * number) + ',\n{"use": "Take"}]'

    assert reading(pipelines.loads, text, "json") == message
    assert reading(pipelines.from_data, [{"use": "Timing"}] * 100_000) == "expected at most 500 stages, found 100000"


def test_what_is_right_stays_right() -> None:
    stops = ops.StopAt("é\n\0")

    assert pipelines.loads(pipelines.dumps(stops)) == pipelines.loads(pipelines.dumps(stops, "json"), "json") == stops
