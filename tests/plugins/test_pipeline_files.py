"""Pipelines written down: everything comes back as it was, and a mistake is told with its line."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streamkit as sk
from streamkit import hops, ops
from streamkit.emitters.anthropic import MessagesEmitter
from streamkit.errors import PipelineError
from streamkit.plugins import pipeline_files as pipelines
from streamkit.plugins.stage_names import BUILT_IN, stage_named
from streamkit.tokens import Prices
from tests.written import Translate, add, half, identity, judge, repeated, shout, translated, wait, way

NUMBERS, SECONDS = st.integers(1, 10**6), st.floats(0.001, 1e6)
TEXT = st.text(min_size=1, max_size=20)
RULES = st.builds(
    sk.Rule,
    TEXT,
    phrases=st.lists(TEXT, min_size=1, max_size=2).map(tuple),
    action=st.sampled_from(["annotate", "redact", "block"]),
    replacement=st.text(max_size=5),
)
CHANNELS = st.sets(st.sampled_from(["content", "reasoning", "refusal"]), min_size=1).map(
    lambda found: tuple(sorted(found))
)
KINDS = st.sampled_from(list(get_args(sk.Event)))
EVENT_STAGES: dict[str, st.SearchStrategy[Any]] = {
    "Moderate": st.builds(sk.Moderate, st.lists(RULES, min_size=1, max_size=2), CHANNELS, NUMBERS),
    "Accumulate": st.builds(sk.Accumulate),
    "Count": st.builds(sk.Count, st.sampled_from(["gpt-4o", "gpt-3.5-turbo"]), st.booleans()),
    "Timing": st.builds(sk.Timing),
    "Budget": st.builds(sk.Budget, NUMBERS, model=st.just("gpt-4o")),
    "Structured": st.builds(sk.Structured, errors=st.sampled_from(["raise", "emit"])),
    "Map": st.just(ops.Map(identity)),
    "FlatMap": st.just(ops.FlatMap(way)),
    "Filter": st.just(ops.Filter(identity)),
    "Scan": st.builds(ops.Scan[Any, str], st.just(add), st.text(max_size=5)),
    "Tap": st.sampled_from([ops.Tap(way), ops.Tap(print)]),
    "Take": st.builds(ops.Take[Any], NUMBERS),
    "TakeUntil": st.builds(ops.TakeUntil[Any], st.just(way), st.booleans()),
    "Skip": st.builds(ops.Skip[Any], NUMBERS),
    "Batch": st.builds(ops.Batch[Any], NUMBERS, st.none() | SECONDS),
    "SlidingWindow": st.builds(ops.SlidingWindow[Any], NUMBERS, NUMBERS),
    "Debounce": st.builds(ops.Debounce[Any], SECONDS),
    "Throttle": st.builds(ops.Throttle[Any], SECONDS | NUMBERS),
    "Select": st.builds(ops.Select[Any], KINDS | st.lists(KINDS, min_size=1, max_size=3).map(tuple)),
    "Choices": st.builds(ops.Choices, NUMBERS | st.lists(NUMBERS, max_size=3).map(tuple)),
    "Smooth": st.builds(ops.Smooth, st.sampled_from(["word", "sentence", "[,:]\\s", half]), NUMBERS),
    "Sentences": st.builds(ops.Sentences, max_held=NUMBERS),
    "Coalesce": st.builds(ops.Coalesce),
    "StopAt": st.builds(
        ops.StopAt, TEXT | st.lists(TEXT, min_size=1, max_size=3).map(tuple), st.booleans(), NUMBERS, CHANNELS
    ),
    "Emit": st.builds(sk.Emit, st.sampled_from(["openai", "openai-legacy"]), st.none() | TEXT, NUMBERS, TEXT),
}
STAGES: dict[str, st.SearchStrategy[Any]] = {
    **EVENT_STAGES,
    "Classify": st.builds(
        sk.Classify, st.just(judge), st.builds(sk.moderation.Windows, st.none() | NUMBERS, NUMBERS, overlap=NUMBERS)
    ),
    "Prefetch": st.builds(hops.Prefetch[Any], NUMBERS),
    "ConcurrentMap": st.builds(
        hops.ConcurrentMap[Any, Any],
        st.just(translated),
        NUMBERS,
        st.booleans(),
        of=st.none() | KINDS,
        on_error=st.sampled_from(["raise", "skip", "retry"]),
        attempts=NUMBERS,
    ),
    "FromGenerator": st.builds(hops.FromGenerator[Any, Any], st.just(repeated), NUMBERS),
    "GroupBy": st.builds(hops.GroupBy[Any, Any], st.just(way), st.one_of(*EVENT_STAGES.values()), NUMBERS, NUMBERS),
    "Latest": st.builds(hops.Latest[Any, Any], st.just(translated), st.none() | KINDS, NUMBERS),
    "RateLimit": st.builds(hops.RateLimit[Any], SECONDS, SECONDS),
    "Lines": st.builds(sk.sse.Lines, NUMBERS, st.sampled_from(["replace", "strict", "surrogateescape"])),
    "Encode": st.builds(sk.sse.Encode),
    "Parse": st.builds(sk.Parse, st.booleans(), comments=st.booleans(), resume_from=TEXT),
    "Extract": st.builds(
        sk.Extract, st.none() | st.sampled_from(["openai", "anthropic"]), st.sampled_from(["raise", "emit"])
    ),
    "Switch": st.builds(
        ops.Switch[Any, Any], st.just(way), st.dictionaries(TEXT, st.one_of(*EVENT_STAGES.values()), max_size=2)
    ),
}


NAMES = {name: getattr(module, name) for module in (sk.events, sk.sse, sk.moderation, sk) for name in module.__all__}


def again_by(name: str) -> Callable[[Any], Any]:
    return {
        "repr": lambda stage: eval(repr(stage), dict(NAMES)),
        "pickle": lambda stage: pickle.loads(pickle.dumps(stage)),
        "data": lambda stage: pipelines.from_data(pipelines.to_data(stage)),
        "toml": lambda stage: pipelines.loads(pipelines.dumps(stage)),
        "json": lambda stage: pipelines.loads(pipelines.dumps(stage, "json"), "json"),
    }[name]


every_way = pytest.mark.parametrize("form", ["repr", "pickle", "data", "toml", "json"])


def test_every_built_in_stage_is_in_the_registry_and_in_these_tests() -> None:
    offered = [getattr(module, name) for module in (sk, sk.sse, ops, hops) for name in module.__all__]
    kinds = sk.Stage, sk.AsyncStage
    stages = {kind.__name__ for kind in offered if isinstance(kind, type) and issubclass(kind, kinds)}

    assert (
        stages - {"AsyncPipeline", "AsyncStage", "Dialect", "Pipeline", "Stage", "Threaded"}
        == set(BUILT_IN)
        == set(STAGES)
    )
    assert all(stage_named(name).__name__ == name for name in BUILT_IN)


@every_way
@pytest.mark.parametrize("name", STAGES)
def test_every_stage_comes_back_as_it_was(name: str, form: str) -> None:
    again = again_by(form)

    @settings(max_examples=12, deadline=None, database=None)
    @given(STAGES[name])
    def check(stage: Any) -> None:
        assert again(stage) == stage
        assert type(again(stage)) is type(stage)

    check()


@every_way
def test_a_pipeline_comes_back_as_it_was(form: str) -> None:
    again = again_by(form)

    @settings(max_examples=25, deadline=None, database=None)
    @given(
        st.lists(
            st.one_of(*(EVENT_STAGES[name] for name in ("Moderate", "Accumulate", "Smooth", "StopAt", "Take"))),
            max_size=4,
        )
    )
    def check(stages: list[Any]) -> None:
        pipeline: Any = sk.sse.Lines() | sk.Parse() | sk.Extract()
        # A moderation belongs before what assembles text.
        for stage in sorted(stages, key=lambda stage: isinstance(stage, sk.Accumulate)):
            pipeline |= stage
        assert again(pipeline) == pipeline

    check()


@pytest.mark.parametrize("form", ["pickle", "data", "toml", "json"])
def test_functions_and_stages_of_ones_own_come_back_by_their_names(form: str) -> None:
    pipeline = sk.Extract() | shout | wait | Translate("fr", key="secret") | sk.stage(identity)

    assert again_by(form)(pipeline) == pipeline
    assert [table["use"] for table in pipelines.to_data(pipeline)] == [
        "Extract",
        "tests.written:shout",
        "tests.written:wait",
        "tests.written:Translate",
        "tests.written:identity",
    ]


@pytest.mark.parametrize("form", ["pickle", "data", "toml", "json"])
def test_the_class_of_an_emitter_comes_back_by_its_name(form: str) -> None:
    emit = again_by(form)(sk.Emit(MessagesEmitter, "1"))
    assert (emit.dialect, emit.id) == (MessagesEmitter, "1")


def test_the_emitter_of_a_file_is_a_name() -> None:
    emit: Any = pipelines.loads('[[stage]]\nuse = "Emit"\ndialect = "streamkit.emitters.anthropic:MessagesEmitter"\n')
    assert list(emit.run([sk.StreamEnd("completed")])) == list(sk.Emit("anthropic").run([sk.StreamEnd("completed")]))


def test_what_comes_back_runs_as_it_did() -> None:
    pipeline = sk.Parse() | sk.Extract() | ops.Smooth() | ops.StopAt("!") | shout | sk.Accumulate()
    body = b"".join(
        b'data: {"choices": [{"index": 0, "delta": {"content": "%s"}}]}\n\n' % text for text in (b"hello wor", b"ld!")
    )

    loaded: Any = pipelines.loads(pipelines.dumps(pipeline))

    assert list(loaded.run(body)) == list(pipeline.run(body))
    assert [event.text for event in loaded.run(body) if isinstance(event, sk.TextDelta)] == ["HELLO ", "WORLD"]


FILE = """\
# What every answer goes through.

[[stage]]
use = "Parse"

[[stage]]
use = "Extract"

[[stage]]
use = "Moderate"
rules = "rules.toml"
choices = 2

[[stage]]
use = "Tap"
function = { named = "tests.written:way" }
"""


def test_a_file_names_its_rules_by_a_path_beside_it(tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text('[[rule]]\ncategory = "secret"\nphrases = ["heron"]\n')
    (tmp_path / "pipeline.toml").write_text(FILE)
    expected = sk.Parse() | sk.Extract() | sk.Moderate(sk.Rule("secret", ("heron",)), choices=2) | ops.Tap(way)

    assert pipelines.from_file(tmp_path / "pipeline.toml") == expected
    assert sk.Moderate(tmp_path / "rules.toml") == sk.Moderate(sk.Rule("secret", ("heron",)))

    (tmp_path / "pipeline.json").write_text('[{"use": "Moderate", "rules": "rules.toml"}]')
    assert pipelines.from_file(str(tmp_path / "pipeline.json")) == sk.Moderate(sk.Rule("secret", ("heron",)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '[[stage]]\nuse = "Parse"\n\n[[stage]]\nuse = "Take"\ncuont = 3',
            "line 6: Take has no option 'cuont'; it has count",
        ),
        ('[[stage]]\nuse = "Timing"\nx = 3', "line 3: Timing has no option 'x'; it has none"),
        ('[[stage]]\nuse = "Take"\ncount = "3"', "line 3: Take, count: Expected `int`, got `str`"),
        ('[[stage]]\n\nuse = "Take"\ncount = 0', "line 1: count: expected a whole number of 1 or more, found 0"),
        ('\n[[stage]]\nuse = "Take"', "line 2: Take needs count"),
        ('[[stage]]\nuse = "Extract"\nerrors = "ignore"', "line 3: Extract, errors: Invalid enum value 'ignore'"),
        ('[[stage]]\nuse = "Extract"\n[[stage]]\nuse = "Parse"', "line 3: Extract | Parse: Extract gives"),
        ('[[stage]]\nuse = "Pasre"', "line 1: expected one of the stages Accumulate, Batch,"),
        ('[[stage]]\nuse = "nowhere:X"', "line 1: 'nowhere:X' can't be found: No module named 'nowhere'"),
        (
            '[[stage]]\nuse = "tests.written:shout"\nloud = true',
            "line 1: tests.written:shout is a function and has no options",
        ),
        (
            '[[stage]]\nuse = "json:JSONDecoder.decode.__name__"',
            "line 1: @stage takes a function, found an object of type str",
        ),
        ('[[stage]]\nname = "Parse"', "line 1: expected a table with the stage's name as `use`"),
        ('[[stage]]\nuse = "Map"\nfunction = "len"', "line 3: Map, function: expected a function as { named ="),
        (
            '[[stage]]\nuse = "Moderate"\nrules = "none.toml"',
            "line 1: none.toml can't be read: No such file or directory",
        ),
        (
            '[[stage]]\nuse = "Moderate"\nrules = [{ category = "x" }]',
            "line 3: Moderate, rules: rule 'x': expected phrases",
        ),
        (
            '[[stage]]\nuse = "Select"\ntypes = ["TextDelt"]',
            "line 3: Select, types: expected a name as package.module:name",
        ),
        (
            '[[stage]]\nuse = "Switch"\nchoose = { named = "builtins:str" }\nbranches = { a = [{ use = "Take" }] }',
            "line 4: Switch, branches: stage 1: Take needs count",
        ),
        ('stage = [{ use = "Parse" }, { use = "Take" }]', "line 1: Take needs count"),
        ('stage = [\n  { use = "Parse" },\n  { use = "Take" },\n]', "line 3: Take needs count"),
        ('[[ "stage" ]] # x\nuse = "Take"\n# count = 1\n"count" = "3"', "line 4: Take, count: Expected `int`"),
        (
            '[[stage]]\nuse = "StopAt"\nstops = """\n[[stage]]\nmax = 1\n"""\nmax = 3',
            "line 7: StopAt has no option 'max'",
        ),
        ("[[stage]]\nuse = ", "Invalid value (at line 2, the end of the document)"),
        ("[[stage]]\nuse = x\n", "Invalid value (at line 2, column 7)"),
        ("", "expected a list of stages, called stage, and nothing else"),
        ("stage = []", "expected at least one stage, found none"),
        ('[[stages]]\nuse = "Parse"', "expected a list of stages, called stage, and nothing else"),
    ],
)
def test_a_mistake_is_told_with_its_line(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "pipeline.toml"
    file.write_text(text)

    with pytest.raises(PipelineError) as caught:
        pipelines.loads(text)
    with pytest.raises(PipelineError) as in_file:
        pipelines.from_file(file)

    assert str(caught.value).startswith(message)
    assert str(in_file.value).startswith("pipeline.toml: " + message.split("none.toml")[0])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"stage": [\n  {"use": "Parse"},\n  {"use": "Take",\n   "cuont": 3}]}', "line 4: Take has no option 'cuont'"),
        ('[{"use": "Parse"},\n\n{"use": "Take"}]', "line 3: Take needs count"),
        (
            '[{"use": "Switch",\n"branches": {\n"chose": [{"use": "Parse"}]},\n"chose": 1}]',
            "line 4: Switch has no option 'chose'",
        ),
        ('[{"use": "Parse"}', "Expecting ',' delimiter: line 1 column 18"),
        ('{"use": "Parse"}', "expected a list of stages, called stage, and nothing else"),
        ("[3]", "line 1: expected a table with the stage's name as `use`"),
    ],
)
def test_a_mistake_in_json_is_told_with_its_line(text: str, message: str) -> None:
    with pytest.raises(PipelineError) as caught:
        pipelines.loads(text, "json")

    assert str(caught.value).startswith(message)


def test_what_has_no_name_can_t_be_written_down() -> None:
    def local(event: sk.Event) -> sk.Event:
        return event

    with pytest.raises(PipelineError, match="Map can't be serialized: it has a function that has no name in a module"):
        pipelines.to_data(ops.Map(local))
    with pytest.raises(PipelineError, match="local has no name in a module"):
        pipelines.to_data(sk.stage(local))
    with pytest.raises(PipelineError, match="TOML has no null"):
        pipelines.dumps(ops.Scan[Any, Any](add, None))
    assert repr(ops.Map(local)).startswith("ops.Map(function=<test_what_has_no_name")


def test_text_of_every_kind_is_written_in_toml_and_read_back() -> None:
    stops = ('a"b\\', "line\nend\r\t", "\x7f\x00\u2028", "👋", "'''")

    assert pipelines.loads(pipelines.dumps(ops.StopAt(stops))) == ops.StopAt(stops)


def test_a_stage_of_a_package_is_used_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    from streamkit import plugins

    monkeypatch.setattr(
        plugins, "find", lambda group, name: Translate if (group, name) == ("stages", "translate") else None
    )

    assert pipelines.loads('[[stage]]\nuse = "translate"\nlanguage = "fr"') == Translate("fr")


@pytest.mark.parametrize(
    "stage", ['use = "Count"\nmodel = "gpt-4o"', 'use = "Budget"\ncost = "0.1"\nmodel = "gpt-4o"\nprompt = 1']
)
@pytest.mark.parametrize("name", ["prices.toml", "other/prices.json"])
def test_a_file_names_its_prices_by_a_path_beside_it(stage: str, name: str, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "prices.toml").write_text('currency = "USD"\n[models."*"]\ninput = 0.1\noutput = 2.5\n')
    (tmp_path / "other/prices.json").write_text('{"currency": "USD", "models": {"*": {"input": 0.1, "output": 2.5}}}')
    (tmp_path / "pipeline.toml").write_text(f'[[stage]]\n{stage}\nprices = "{name}"\n')

    made: Any = pipelines.from_file(tmp_path / "pipeline.toml")

    assert made.prices == Prices({"currency": "USD", "models": {"*": {"input": "0.1", "output": "2.5"}}})
    assert pipelines.loads(pipelines.dumps(made)) == made


def test_the_prices_of_a_file_may_be_the_name_of_an_installed_table(tmp_path: Path) -> None:
    text = '[[stage]]\nuse = "Count"\nmodel = "gpt-4o"\nprices = "{}"\n'

    made: Any = pipelines.loads(text.format("genai"), folder=tmp_path)
    assert made.prices == "genai"
    with pytest.raises(PipelineError, match=r"line 1: .*nowhere\.toml can't be read: No such file or directory$"):
        pipelines.loads(text.format("nowhere.toml"), folder=tmp_path)
