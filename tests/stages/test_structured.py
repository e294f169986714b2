"""Structured output: what comes while it comes, what is made of it at the end, and why not where it can't be."""

import dataclasses
import json
import subprocess
import sys
from itertools import pairwise
from typing import Any, NewType, TypedDict

import msgspec
import pydantic
import pydantic.dataclasses
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamkit as sk
from streamkit.events import Reset

CITY = '{"city": "Ulm", "degrees": [18, 21.5]}'


class City(msgspec.Struct):
    city: str
    degrees: list[float] = []


@dataclasses.dataclass
class PlainCity:
    city: str
    degrees: list[float]


class CityDict(TypedDict):
    city: str
    degrees: list[float]


class ModelCity(pydantic.BaseModel):
    city: str
    degrees: list[float]


@pydantic.dataclasses.dataclass
class CheckedCity:
    city: str
    degrees: list[float]


class OwnCity:
    def __init__(self, value: dict[str, Any]) -> None:
        self.name = value["city"]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OwnCity) and other.name == self.name

    __hash__ = None  # type: ignore[assignment]


Name = NewType("Name", str)
DONE = [sk.Finish("stop"), sk.StreamEnd("completed", saw_done=True)]


def run(stage: sk.Structured[Any], *events: sk.Event) -> tuple[list[sk.Event], sk.errors.OutputError | None]:
    seen: list[sk.Event] = []
    try:
        seen.extend(stage.run(list(events)))
    except sk.errors.OutputError as error:
        return seen, error
    return seen, None


def told(stage: sk.Structured[Any], *events: sk.Event) -> list[sk.Event]:
    """The events that the stage adds."""
    return [event for event in run(stage, *events)[0] if not any(event is given for given in events)]


def answer(text: str, kind: Any = dict, *end: sk.Event, **options: Any) -> sk.Event:
    """The last thing that is told of one whole text."""
    return told(sk.Structured(kind, every_chars=None, **options), sk.TextDelta(text), *(end or DONE))[-1]


# Partial values


def test_a_partial_value_follows_each_delta_and_the_object_the_end_of_its_choice() -> None:
    deltas = [sk.TextDelta(piece) for piece in ('{"city', '": "U', 'lm", "degrees": [18', ", 21.5]", "}")]

    events, error = run(sk.Structured(City), *deltas, *DONE)

    assert error is None
    assert events == [
        deltas[0],
        sk.events.PartialOutput({}),
        deltas[1],
        sk.events.PartialOutput({"city": "U"}),
        deltas[2],
        sk.events.PartialOutput({"city": "Ulm", "degrees": []}),
        deltas[3],
        sk.events.PartialOutput({"city": "Ulm", "degrees": [18, 21.5]}),
        deltas[4],
        sk.events.PartialOutput({"city": "Ulm", "degrees": [18, 21.5]}, complete=True),
        DONE[0],
        sk.StructuredOutput(City("Ulm", [18, 21.5])),
        DONE[1],
    ]


def test_partial_values_may_be_wished_for_less_often_or_never_and_the_last_one_is_not_left_out() -> None:
    deltas = [sk.TextDelta(char) for char in CITY]

    every_ten = told(sk.Structured(dict, every_chars=12), *deltas, *DONE)

    assert [event.value for event in every_ten if isinstance(event, sk.events.PartialOutput)] == [
        {"city": "Ul"},
        {"city": "Ulm"},
        {"city": "Ulm", "degrees": [18]},
        {"city": "Ulm", "degrees": [18, 21.5]},
    ]
    assert told(sk.Structured(dict, every_chars=None), *deltas, *DONE) == [sk.StructuredOutput(json.loads(CITY))]


@pytest.mark.parametrize(
    ("options", "value"),
    [({}, {"a": "b"}), ({"strings": "drop"}, {})],
    ids=["a string is kept", "or dropped"],
)
def test_what_is_unfinished_is_told_by_policy(options: Any, value: object) -> None:
    assert told(sk.Structured(dict, errors="emit", **options), sk.TextDelta('{"a": "b'))[0] == sk.events.PartialOutput(
        value
    )


def test_a_number_is_told_when_it_is_whole_unless_its_beginning_is_wished_for() -> None:
    def numbers(**options: Any) -> list[Any]:
        events = told(sk.Structured(dict, **options), *map(sk.TextDelta, ['{"n": 1', "2", "}"]), *DONE)
        return [event.value for event in events if isinstance(event, sk.events.PartialOutput)]

    assert numbers() == [{}, {}, {"n": 12}]
    assert numbers(numbers="keep") == [{"n": 1}, {"n": 12}, {"n": 12}]


def test_space_after_the_json_tells_nothing() -> None:
    assert told(sk.Structured(list), sk.TextDelta("[]"), sk.TextDelta("\n "), *DONE) == [
        sk.events.PartialOutput([], complete=True),
        sk.StructuredOutput([]),
    ]


def test_each_choice_has_its_own_value() -> None:
    events = [
        sk.TextDelta('{"a": ', 1),
        sk.TextDelta("[", 0),
        sk.TextDelta("1}", 1),
        sk.Finish("stop", 1),
        sk.TextDelta("]", 0),
        sk.Finish("stop", 0),
        sk.StreamEnd("completed"),
    ]

    assert told(sk.Structured(object), *events) == [
        sk.events.PartialOutput({}, index=1),
        sk.events.PartialOutput([]),
        sk.events.PartialOutput({"a": 1}, complete=True, index=1),
        sk.StructuredOutput({"a": 1}, index=1),
        sk.events.PartialOutput([], complete=True),
        sk.StructuredOutput([]),
    ]


# Types


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (City, City("Ulm", [18, 21.5])),
        (PlainCity, PlainCity("Ulm", [18, 21.5])),
        (CityDict, {"city": "Ulm", "degrees": [18, 21.5]}),
        (ModelCity, ModelCity(city="Ulm", degrees=[18, 21.5])),
        (CheckedCity, CheckedCity("Ulm", [18, 21.5])),
        (pydantic.TypeAdapter(ModelCity), ModelCity(city="Ulm", degrees=[18, 21.5])),
        (City | None, City("Ulm", [18, 21.5])),
        (dict[str, Any], {"city": "Ulm", "degrees": [18, 21.5]}),
        (object, {"city": "Ulm", "degrees": [18, 21.5]}),
        (Any, {"city": "Ulm", "degrees": [18, 21.5]}),
        (OwnCity, OwnCity({"city": "Ulm"})),
        (lambda value: value["city"], "Ulm"),
    ],
    ids=[
        "a msgspec Struct",
        "a dataclass",
        "a TypedDict",
        "a pydantic model",
        "a pydantic dataclass",
        "a pydantic adapter",
        "a union",
        "a generic",
        "object",
        "Any",
        "a class of one's own",
        "a function",
    ],
)
def test_the_object_is_of_the_type_that_was_asked_for(kind: Any, value: object) -> None:
    output = answer(CITY, kind)

    assert output == sk.StructuredOutput(value)
    assert isinstance(output, sk.StructuredOutput)
    assert type(output.value) is type(value)


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("[1, 2]", list[int], [1, 2]),
        ('"x"', Name, "x"),
        ("12", int, 12),
        ("null", None | int, None),
        ('{"1": true}', dict[int, bool], {1: True}),
    ],
    ids=["a list", "a new type", "a number", "null", "keys that are numbers"],
)
def test_json_need_not_be_an_object(text: str, kind: Any, value: object) -> None:
    assert answer(text, kind) == sk.StructuredOutput(value)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("City", "expected a type or a function, found an object of type str"),
        (3, "expected a type or a function, found an object of type int"),
    ],
)
def test_what_is_no_type_is_said_when_the_stage_is_made(kind: Any, message: str) -> None:
    for make in (lambda: sk.Structured(kind), lambda: sk.Structured(tools={"f": kind})):
        with pytest.raises(sk.PipelineError, match=message):
            make()


def test_pydantic_is_never_imported_by_us() -> None:
    code = """
import sys
import streamkit as sk
list(sk.Structured(dict).run([sk.TextDelta("{}"), sk.Finish("stop")]))
print("pydantic" in sys.modules)
"""

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


# Tools


def call(number: int, arguments: str = "", name: str | None = None, type: str | None = None) -> sk.ToolCallDelta:
    return sk.ToolCallDelta(number, f"call_{number}" if name else None, name, arguments, type=type)


CALLED = [sk.Finish("tool_calls"), sk.StreamEnd("tool_calls")]


def test_arguments_are_the_type_of_their_tool_and_know_their_call() -> None:
    events = [
        call(0, "", "weather", "function"),
        call(1, "{", "other"),
        call(0, '{"city"'),
        call(1, '"x": 1}'),
        call(0, ': "Ulm"}'),
        *CALLED,
    ]

    assert told(sk.Structured(tools={"weather": City}), *events) == [
        sk.events.PartialOutput({}, False, 1, "call_1", "other"),
        sk.events.PartialOutput({}, False, 0, "call_0", "weather"),
        sk.events.PartialOutput({"x": 1}, True, 1, "call_1", "other"),
        sk.events.PartialOutput({"city": "Ulm"}, True, 0, "call_0", "weather"),
        sk.StructuredOutput(City("Ulm"), 0, "call_0", "weather"),
        sk.StructuredOutput({"x": 1}, 1, "call_1", "other"),
    ]


def test_no_arguments_are_not_an_empty_object() -> None:
    stage = sk.Structured(tools={"weather": City}, errors="emit")

    assert told(stage, call(0, "", "weather"), *CALLED) == [
        sk.events.InvalidOutput("missing", "$", "expected JSON, found nothing", 0, "call_0", "weather")
    ]
    assert told(stage, call(0, "", "now"), *CALLED) == []


def test_the_input_of_a_custom_tool_is_no_json() -> None:
    assert told(sk.Structured(object), call(0, "print(1)", "python", "custom"), *CALLED) == []


def test_text_beside_a_call_is_no_output() -> None:
    events = [sk.TextDelta("Let me look."), call(0, "{}", "now"), *CALLED]

    assert told(sk.Structured(City), *events) == [
        sk.events.PartialOutput({}, True, 0, "call_0", "now"),
        sk.StructuredOutput({}, 0, "call_0", "now"),
    ]


def test_text_is_not_looked_at_unless_it_is_to_be_json() -> None:
    assert told(sk.Structured(), sk.TextDelta("Once upon a time"), *DONE) == []


# What can't be given


@pytest.mark.parametrize(
    ("text", "kind", "problem", "path", "detail"),
    [
        ('{"city": 1}', City, "invalid", "$.city", "expected `str`, got `int` at $.city"),
        (
            '{"city": "u", "degrees": [1, "S"]}',
            City,
            "invalid",
            "$.degrees[1]",
            "expected `float`, got `str` at $.degrees[1]",
        ),
        ("{}", City, "invalid", "$", "object missing required field `city` at $"),
        (
            '{"city": 1, "degrees": ["S"]}',
            ModelCity,
            "invalid",
            "$.city",
            "expected what ModelCity allows at $.city: string_type, and 1 more",
        ),
        (
            '{"city": "u", "degrees": ["S"]}',
            CheckedCity,
            "invalid",
            "$.degrees[0]",
            "expected what CheckedCity allows at $.degrees[0]: float_parsing",
        ),
        (
            '{"SECRET": "S"}',
            pydantic.TypeAdapter(dict[str, int]),
            "invalid",
            "$[...]",
            "expected what TypeAdapter allows at $[...]: int_parsing",
        ),
        ('{"SECRET": "S"}', dict[str, int], "invalid", "$[...]", "expected `int`, got `str` at $[...]"),
        ("[]", OwnCity, "invalid", "$", "expected what OwnCity takes, but it raised TypeError"),
        ('{"a": "SECRET"}', int, "invalid", "$", "expected `int`, got `object` at $"),
        ('{"a": x}', City, "malformed", "$", "character 7 of the JSON: expected a value, found another character"),
        ("Sure! {}", City, "malformed", "$", "character 1 of the JSON: expected a value, found another character"),
        (
            "```json\n{}\n```",
            City,
            "malformed",
            "$",
            "character 1 of the JSON: expected a value, found another character",
        ),
        (
            '{"city": "Ul',
            City,
            "truncated",
            "$",
            "expected complete JSON, found the end of the answer within it",
        ),
        ("", City, "missing", "$", "expected JSON, found nothing"),
        (
            "[" * 300,
            object,
            "limit",
            "$",
            "character 201 of the JSON: expected at most 200 arrays and objects nested in each other (max_depth), found more",
        ),
    ],
    ids=lambda value: getattr(value, "__name__", None) or str(value)[:20],
)
def test_why_it_cannot_be_given_is_told_by_its_place(
    text: str, kind: Any, problem: Any, path: str, detail: str
) -> None:
    assert answer(text, kind, errors="emit") == sk.events.InvalidOutput(problem, path, detail)


class Choosy(msgspec.Struct, forbid_unknown_fields=True):
    word: str = ""

    def __post_init__(self) -> None:
        if self.word:
            raise ValueError(f"Expected another word than {self.word}")


@pytest.mark.parametrize("text", ['{"word": "SECRET"}', '{"SECRET": 1}'])
@pytest.mark.parametrize("every_chars", [1, None])
def test_no_message_holds_text_of_the_answer(text: str, every_chars: int | None) -> None:
    def refuse(value: object) -> None:
        raise ValueError(f"no: {value}")

    class Strict(pydantic.BaseModel, extra="forbid"):
        word: int = 0

    for kind in (Choosy, Strict, refuse):
        events, error = run(sk.Structured(kind, every_chars=every_chars), sk.TextDelta(text), *DONE)

        (invalid,) = (event for event in events if isinstance(event, sk.events.InvalidOutput))
        assert invalid.problem == "invalid"
        assert "SECRET" not in repr(invalid) + str(error) + repr(error)
        assert error is not None
        assert error.__cause__ is None


@pytest.mark.parametrize(
    "end",
    [
        [sk.Finish("length"), sk.StreamEnd("length")],
        [sk.Finish("max_tokens"), sk.StreamEnd("length")],
        [sk.Finish("MAX_TOKENS"), sk.StreamEnd("length")],
        [sk.Finish("content_filter"), sk.StreamEnd("content_filter")],
        [sk.Finish("abort"), sk.StreamEnd("provider_error")],
        [sk.Finish("a word of tomorrow"), sk.StreamEnd("unknown")],
        [sk.StreamEnd("truncated")],
        [sk.StreamEnd("moderated")],
        [],
    ],
    ids=[
        "length",
        "Anthropic's length",
        "Gemini's length",
        "filter",
        "abort",
        "unknown",
        "cut",
        "moderated",
        "no end at all",
    ],
)
@pytest.mark.parametrize("text", ['{"city": "Ul', CITY], ids=["cut", "whole"])
def test_an_answer_that_was_cut_short_says_so_and_validates_nothing(end: list[sk.Event], text: str) -> None:
    def never(value: object) -> None:
        raise AssertionError("a validator ran on an answer that is not whole")

    stage = sk.Structured(never, tools={"f": never}, errors="emit", every_chars=None)
    cut = "expected complete JSON, found an answer that was cut short"

    assert told(stage, sk.TextDelta(text), *end) == [sk.events.InvalidOutput("truncated", "$", cut)]
    assert told(stage, call(0, text, "f"), *end) == [sk.events.InvalidOutput("truncated", "$", cut, 0, "call_0", "f")]


def test_what_the_word_of_a_dialect_of_its_own_means_the_end_says() -> None:
    finish = sk.Finish("said_it_all")

    assert told(sk.Structured(list, every_chars=None), sk.TextDelta("[1]"), finish, sk.StreamEnd("completed")) == [
        sk.StructuredOutput([1])
    ]


def test_validators_run_once_and_only_when_the_json_is_whole() -> None:
    """Where partial objects are validated, validators fail on what has not come yet (567-labs/instructor#1993)."""
    seen: list[object] = []

    def validate(value: object) -> object:
        seen.append(value)
        return value

    run(sk.Structured(validate), *map(sk.TextDelta, CITY), *DONE)

    assert seen == [json.loads(CITY)]


def test_a_refusal_is_missing_output() -> None:
    assert told(sk.Structured(City, errors="emit"), sk.RefusalDelta("No."), *DONE) == [
        sk.events.InvalidOutput("missing", "$", "expected JSON, found nothing")
    ]


def test_an_end_without_a_finish_is_an_end_if_the_format_says_so() -> None:
    assert answer("[1]", list, sk.StreamEnd("completed", saw_done=True)) == sk.StructuredOutput([1])


def test_nothing_at_all_is_missing_output() -> None:
    assert told(sk.Structured(City, errors="emit"), sk.StreamEnd("completed")) == [
        sk.events.InvalidOutput("missing", "$", "expected JSON, found nothing")
    ]


def test_an_error_is_raised_after_everything_was_delivered() -> None:
    usage = sk.Usage(1, 2, 3)

    events, error = run(sk.Structured(City), sk.TextDelta("[]"), DONE[0], usage, DONE[1])

    assert events[-2:] == [usage, DONE[1]]
    assert isinstance(error, sk.errors.OutputError)
    assert str(error) == "choice 0: expected `object`, got `array` at $"
    assert (error.problem, error.path) == ("invalid", "$")


def test_the_error_of_a_call_names_the_call() -> None:
    _, error = run(sk.Structured(tools={"f": City}), call(2, '{"city": []}', "f"), *CALLED)

    assert str(error) == "choice 0, call 2: expected `str`, got `array` at $.city"


def test_an_error_of_the_provider_is_not_hidden_by_what_it_caused() -> None:
    body = b'data: {"choices":[{"index":0,"delta":{"content":"{"}}]}\n\ndata: {"error":{"code":503}}\n\n'
    events: list[sk.Event] = []

    with pytest.raises(sk.ProviderError):
        events.extend((sk.Parse() | sk.Extract() | sk.Structured(City)).run(body))

    assert [event.problem for event in events if isinstance(event, sk.events.InvalidOutput)] == ["truncated"]


def test_what_comes_after_a_choice_has_ended_is_passed_on_and_not_read() -> None:
    late = sk.TextDelta("more")

    events, error = run(sk.Structured(list, every_chars=None), sk.TextDelta("[]"), DONE[0], late, DONE[1])

    assert events == [sk.TextDelta("[]"), DONE[0], sk.StructuredOutput([]), late, DONE[1]]
    assert error is None


# Laws


@given(
    st.sampled_from([CITY, '{"city": "\\ud83d\\ude00"}', "[1, tru", "{]", '"😀"']),
    st.sets(st.integers(0, 40)),
    st.data(),
)
def test_the_end_is_the_same_however_the_text_is_cut(text: str, at: set[int], data: st.DataObject) -> None:
    places = sorted({0, len(text), *(place for place in at if place < len(text))})
    pieces = [sk.TextDelta(text[start:end]) for start, end in pairwise(places)]

    cut = told(sk.Structured(object, errors="emit"), *pieces, *DONE)

    assert cut[-1] == answer(text, object, errors="emit")


def test_a_pipeline_over_a_wire_gives_the_same_for_any_cut_of_the_bytes() -> None:
    chunks = [{"choices": [{"index": 0, "delta": {"content": piece}}]} for piece in ('{"ci', 'ty":"U', 'lm"', "}")]
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    body = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in [*chunks, end]).encode() + b"data: [DONE]\n\n"
    pipeline = sk.sse.Lines() | sk.Parse() | sk.Extract() | sk.Structured(City) | sk.Accumulate()
    whole = list(pipeline.run([body]))

    assert sk.StructuredOutput(City("Ulm")) in whole
    for at in range(len(body)):
        assert list(pipeline.run([body[:at], body[at:]])) == whole


def test_one_stage_serves_many_runs() -> None:
    stage = sk.Structured(dict)
    first = stage.run([sk.TextDelta('{"a":'), sk.TextDelta("1}"), *DONE])
    next(first)

    assert told(stage, sk.TextDelta("{}"), *DONE)[-1] == sk.StructuredOutput({})
    assert sk.StructuredOutput({"a": 1}) in list(first)


def test_the_value_of_an_event_is_that_of_a_structured_output() -> None:
    stage = sk.Structured(City)

    assert stage.value_of(sk.StructuredOutput(City("Ulm"))) == City("Ulm")
    assert stage.value_of(sk.StructuredOutput({}, tool_index=0)) is None
    assert stage.value_of(sk.events.PartialOutput({})) is None
    assert stage.value_of(sk.TextDelta("{}")) is None


@pytest.mark.parametrize(
    "void",
    [
        [sk.TextDelta('{"city": "Ul')],
        [sk.TextDelta("no JSON")],
        [sk.TextDelta("no JSON"), sk.Finish("stop")],
        [sk.TextDelta('{"city": "Oslo"}'), sk.Finish("stop")],
        [sk.ToolCallDelta(0, "c1", "time", '{"zone":')],
        [sk.RefusalDelta("No.", 1)],
    ],
)
def test_a_reset_discards_the_output_before_it(void: list[Any]) -> None:
    answer = [sk.TextDelta('{"city": '), sk.TextDelta('"Bern"}'), *DONE]
    stage = sk.Structured(City, every_chars=None)

    for burst in (list, iter):
        events = list(stage.run(burst([*void, Reset("failed"), *answer])))

        after = events[events.index(Reset("failed")) + 1 :]
        assert after == list(stage.run(answer))
        assert sk.StructuredOutput(City("Bern")) in after
