"""Moderation against its oracle, which knows the whole text: every short text, texts as they occur, and any expression.

`make test` tries some; `make fuzz` a hundred thousand texts and expressions of each kind (FUZZ_EXAMPLES).
"""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise, product
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import streamkit as sk
from streamkit.moderation.channels import CLASSIFIED
from streamkit.moderation.channels import TEXTS as CHANNELS_OF_TEXT
from streamkit.moderation.classifiers.classifier import Outcome
from streamkit.moderation.classifiers.windows import Classifying
from streamkit.moderation.json_escapes import Unescaped
from streamkit.moderation.match import expressions, patterns
from streamkit.moderation.match.expressions import compiled
from streamkit.moderation.match.scanner import plans
from streamkit.moderation.policy import Policy
from streamkit.testing.laws import joined
from tests.moderation.oracle import Decision, decisions, readable
from tests.moderation.reading import Reading, read

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "300"))
thorough = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
ACTIONS = st.sampled_from(["redact", "redact", "allow", "annotate", "replace", "block", "stop"])


def cut(text: str, at: Iterable[int]) -> list[str]:
    return [text[start:end] for start, end in pairwise([0, *sorted(min(n, len(text)) for n in at), len(text)])]


@pytest.fixture(params=["in long steps", "in short steps", "with time limits"])
def steps(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """How much text a search of patterns has before it, how much is searched at a time, whether a search can end early, and
    how often text is searched again."""
    if request.param != "in long steps":
        monkeypatch.setattr(patterns, "_SURPLUS", 0)
        monkeypatch.setattr(patterns, "_CHUNK", 3)
    if request.param == "with time limits":
        monkeypatch.setattr(expressions, "MOST_STEPS", 0)
        monkeypatch.setattr(patterns, "_OFTEN", 2)
        monkeypatch.setattr(patterns, "_SHARE", 1)
    compiled.cache_clear()
    plans.cache_clear()
    yield
    compiled.cache_clear()
    plans.cache_clear()


def check(rules: Sequence[sk.Rule], text: str, expected: Sequence[Decision], pieces: Iterable[str]) -> None:
    """The pieces have the decisions that are expected, and none releases what must not be read."""
    allowed, released, found = readable(text, expected), "", list[Decision]()
    reading = Reading(rules)
    for piece in [*pieces, None]:
        out = reading.feed(piece or "", final=piece is None)
        released += read(out)
        found += [Decision(one.start, one.end, one.rule, one.extended) for one in out if one.rule]
        assert allowed.startswith(released), (text, released)
    assert released == allowed, text
    assert found == expected, text


# Every short text

LETTERS = "ab "
SHORT = [
    "ab+", "a.{0,2}b", r"\bab\b", "a(?!b)", "(?<=b)a", "b$", "ab?", r"\b[ab]+ ", "(?:ab|a|ba)", "a(?=b )", "(?<!a)b", "^a",
    r"a\Z", "a+?", r"(a|b)\1", "[^a]+", r"\b|a", r"a(?!\b)", "a*b", "(?<=^|a)b", "(?<=a.*)b", r"a\Bb", "(?:ab)+", "b(?:ab){1,2}",
]  # fmt: skip
SHORT_RULES = st.builds(
    lambda phrases, sources, action, whole: sk.Rule(
        "x", tuple(phrases), tuple(sources), action, "*", whole_words=whole
    ),
    st.lists(st.text(LETTERS, min_size=1, max_size=4), min_size=1, max_size=2),
    st.lists(st.sampled_from([source for source in SHORT if "*)" not in source]), max_size=2),
    ACTIONS,
    st.booleans(),
)


@settings(thorough, max_examples=max(EXAMPLES // 500, 20))
@given(rules=st.lists(SHORT_RULES, min_size=1, max_size=4))
def test_every_text_of_up_to_five_characters(steps: None, rules: list[sk.Rule]) -> None:
    for length in range(6):
        for letters in product(LETTERS, repeat=length):
            text = "".join(letters)
            expected = decisions(rules, text)
            check(rules, text, expected, [text])
            check(rules, text, expected, text)


# Texts as they occur

WORDS = (
    "the heron , . ; the blue BLUE Heron 42 42 ha ha. haha is it so said Ann wrote to ann@example.org and http://a.b/c"
)
OTHERS = (
    "call +49 30 901820 or 555-1234. password: hunter2 id=12345 {json: true} **bold** `x` ist straße ΟΔΟΣ οδος İstanbul"
)
FRAGMENTS = [
    *WORDS.split(" "), *OTHERS.split(" "),
    "4111 1111 1111 1111", "GB82 WEST 1234 5698 7654 32", "sk-abcdefghijklmnopqrstuvwx", "<<", ">>", "\n", "\n\n", "\t", "漢字",
    "😀", "e\u0301", "\u200b", "aaaa", "a" * 30, "blue heron 42", "BLUE HERON", "heron's", "build a bomb", "how to build",
]  # fmt: skip
TEXTS = st.lists(st.tuples(st.sampled_from(FRAGMENTS), st.sampled_from(["", " ", " "])), max_size=25).map(
    lambda parts: "".join(fragment + space for fragment, space in parts)
)
RULES = [
    sk.Rule("secret", ("blue heron 42", "hunter2"), replacement="[secret]"),
    sk.Rule("weapons", ("how to build a bomb", "build a bomb", "a bomb: "), action="block"),
    sk.Rule("bird", ("heron", "ha ha ha ha"), whole_words=True, replacement="<bird>"),
    sk.Rule("shout", ("BLUE", "Heron"), ignore_case=False, action="annotate"),
    sk.Rule("e-mail", patterns=(r"\b[\w.]+@[\w.]+\w",), replacement="[e-mail]"),
    sk.Rule("number", patterns=(r"\b\d{3,5}\b", r"(?<!\d)\d{3}-\d{4}(?!\d)"), replacement="[number]"),
    sk.Rule("card", patterns=(r"\b(?:\d[ -]?){13,19}\b",), action="stop"),
    sk.Rule("key", patterns=(r"\bsk-[A-Za-z0-9]{20,}",), action="replace", replacement="[key]"),
    sk.Rule("quote", patterns=("<<.*?>>", r"(?s)<<[^>]*>>")),
    sk.Rule("password", patterns=(r"(?<=password:\s{0,3})\S+",), replacement="…"),
    sk.Rule("line", patterns=("(?m)^[a-z ]+$",), action="annotate"),
    sk.Rule("greek", ("οδοσ", "straße", "istanbul")),
    sk.Rule("rows", ("aa", "aab", "a" * 20)),
    sk.Rule("fine", ("ann@example.org", "the heron", "5-12"), action="allow"),
    sk.Rule("fine numbers", patterns=(r"id=\d+",), action="allow"),
]


@thorough
@given(text=TEXTS, rules=st.lists(st.sampled_from(RULES), max_size=6), at=st.lists(st.integers(0, 250), max_size=12))
def test_texts_as_they_occur(steps: None, text: str, rules: list[sk.Rule], at: list[int]) -> None:
    expected = decisions(rules, text)
    check(rules, text, expected, cut(text, at))
    check(rules, text, expected, text)


def moderated(stage: sk.Moderate, bursts: list[list[Any]], handover: int | None) -> list[Any]:
    """The events that a run releases. At `handover` another one resumes from its state."""
    running, out = stage.fresh(), list[Any]()
    for number, burst in enumerate(bursts):
        if number == handover:
            state = json.loads(json.dumps(running.state()))
            running = stage.fresh()
            running.restore(state)
        out += running.feed_all(burst)
        if running.done:
            return out
    return [*out, *running.flush()]


CHANNELS: dict[type[Any], str] = {sk.TextDelta: "content", sk.ReasoningDelta: "reasoning"}


@thorough
@given(
    texts=st.lists(st.tuples(st.sampled_from([*CHANNELS]), st.sampled_from([0, 0, 1]), TEXTS), max_size=6),
    rules=st.lists(st.sampled_from(RULES), max_size=6),
    at=st.lists(st.integers(0, 60), max_size=6),
    bursts=st.lists(st.integers(0, 20), max_size=6),
    handover=st.none() | st.integers(0, 6),
)
def test_what_the_stage_releases_of_a_stream(
    texts: list[tuple[type[Any], int, str]],
    rules: list[sk.Rule],
    at: list[int],
    bursts: list[int],
    handover: int | None,
) -> None:
    deltas = [kind(piece, index) for kind, index, text in texts for piece in cut(text, at)]
    whole: list[Any] = [*deltas, sk.Finish("stop"), sk.Finish("stop", 1), sk.StreamEnd("completed")]
    in_bursts = [whole[start:end] for start, end in pairwise([0, *sorted(bursts), len(whole)])]
    out = moderated(sk.Moderate(rules, choices=2), in_bursts, handover)

    over = {event.index for event in out if isinstance(event, sk.Blocked)}
    stopped = any(isinstance(event, sk.Blocked) and event.action == "stop" for event in out)
    for kind, channel in CHANNELS.items():
        for index in (0, 1):
            text = "".join(delta.text for delta in deltas if type(delta) is kind and delta.index == index)
            released = "".join(event.text for event in out if type(event) is kind and event.index == index)
            allowed = readable(text, expected := decisions(rules, text))
            assert allowed.startswith(released)
            if not over and not stopped:
                assert released == allowed
                assert [
                    (event.start, event.end, event.category)
                    for event in out
                    if isinstance(event, sk.events.Flagged | sk.Redacted)
                    and (event.channel, event.index) == (channel, index)
                ] == [(start, end, rule.category) for start, end, rule, _ in expected]


# Any stream

PIECES = st.sampled_from(["", "a", "b", "ab", "ba", " ", "abba ", "c. ", "x"])
INDEX = st.sampled_from([0, 0, 1])
PARTS = st.sampled_from([0, 1])
NAMES = st.sampled_from([None, "f", "ab"])
QUOTES = st.sampled_from(["a", "abb", "x", "c"])
CONTENT: st.SearchStrategy[Any] = st.one_of(
    *(st.builds(kind, PIECES, INDEX) for kind in (sk.TextDelta, sk.TextDelta, sk.ReasoningDelta, sk.RefusalDelta)),
    st.builds(lambda text, index: sk.events.AudioDelta(transcript=text, index=index), PIECES, INDEX),
)
OTHER: st.SearchStrategy[Any] = st.one_of(
    st.builds(lambda data, index: sk.events.AudioDelta(data, index=index), QUOTES, INDEX),
    st.builds(lambda text, data, index: sk.events.AudioDelta(data, transcript=text, index=index), PIECES, QUOTES, INDEX),
    st.builds(lambda tool, name, text, index: sk.ToolCallDelta(tool, None, name, text, index), PARTS, NAMES, PIECES, INDEX),
    st.builds(lambda tool, text, index: sk.ToolCallDelta(tool, arguments=f'["{text}"]', index=index), PARTS, PIECES, INDEX),
    st.builds(lambda part, index: sk.events.PartStart("text", part, channel="content", index=index), PARTS, INDEX),
    st.builds(lambda part, index: sk.events.PartEnd(part, index=index), PARTS, INDEX),
    st.builds(lambda text, index: sk.events.Annotation({"cited": text}, index), QUOTES, INDEX),
    st.builds(lambda index: sk.events.Logprobs({"content": [{"token": "a"}]}, index=index), INDEX),
    st.builds(lambda index: sk.events.RoleDelta("assistant", index), INDEX),
    st.builds(lambda text, index: sk.StructuredOutput({"a": text}, index=index), QUOTES, INDEX),
    st.builds(lambda index: sk.Finish("stop", index), INDEX),
    st.sampled_from([sk.Usage(1, 2), sk.events.Reset("again"), sk.events.ResponseStart("r")]),
)  # fmt: skip


def well_formed(events: list[Any]) -> list[Any]:
    """Without what follows the finish of its choice."""
    found, over = list[Any](), set[int]()
    for event in events:
        if getattr(event, "index", None) in over:
            continue
        found.append(event)
        if isinstance(event, sk.Finish):
            over.add(event.index)
        elif isinstance(event, sk.events.Reset):
            over.clear()
    return found


STREAMS = st.tuples(
    st.lists(st.one_of(CONTENT, CONTENT, OTHER), max_size=16),
    st.sampled_from([[], [sk.StreamEnd("completed")], [sk.Finish("stop"), sk.Finish("stop", 1), sk.StreamEnd("completed")]]),
).map(lambda parts: well_formed([*parts[0], *parts[1]]))  # fmt: skip
SMALL_RULES = st.lists(
    st.builds(
        lambda phrases, action: sk.Rule("x", tuple(phrases), ("ab+a",), action, "*", message="no"),
        st.lists(st.sampled_from(["a", "ab", "bb", "ba", "ab ", "c. "]), min_size=1, max_size=2),
        ACTIONS,
    ),
    max_size=3,
)
MODES = st.sampled_from(["hold", "hold", "observe", "optimistic"])


@thorough
@given(
    events=STREAMS,
    rules=SMALL_RULES,
    mode=MODES,
    limit=st.sampled_from([None, 1, 3]),
    on_limit=st.sampled_from(["block", "release"]),
    bursts=st.lists(st.integers(0, 20), max_size=6),
    handover=st.none() | st.integers(0, 6),
)
def test_bursts_and_checkpoints_release_what_single_events_do(
    events: list[Any],
    rules: list[sk.Rule],
    mode: Any,
    limit: int | None,
    on_limit: Any,
    bursts: list[int],
    handover: int | None,
) -> None:
    stage = sk.Moderate(rules, mode=mode, choices=2, max_hold_chars=limit, on_max_hold=on_limit)
    in_bursts = [events[start:end] for start, end in pairwise([0, *sorted(bursts), len(events)])]
    alone = moderated(stage, [[event] for event in events], None)

    assert normal(moderated(stage, in_bursts, handover)) == normal(alone)
    if mode != "observe":
        check_order(alone)


def normal(events: list[Any]) -> list[Any]:
    """However text is split, and whether empty text is passed on. A call that is not buffered passes as it arrives, with what is
    reported of it behind."""
    shown = [event for event in events if getattr(event, "text", None) != "" and not is_empty_call(event)]
    of_calls = [event for event in shown if isinstance(event, sk.events.Flagged) and event.tool_index is not None]
    return joined([event for event in shown if event not in of_calls]) + of_calls


def is_empty_call(event: Any) -> bool:
    return isinstance(event, sk.ToolCallDelta) and not (event.arguments or event.name or event.id or event.type)


def check_order(events: list[Any]) -> None:
    """Of a choice that is blocked nothing follows but a message and its end, and it is blocked once."""
    over = dict[int, list[Any]]()
    for event in events:
        if isinstance(event, sk.events.Reset):
            over.clear()
        elif isinstance(index := getattr(event, "index", None), int) and index in over:
            over[index].append(event)
        elif isinstance(event, sk.Blocked):
            over[event.index] = []
    for index, rest in over.items():
        said = [
            event for event in rest if not isinstance(event, sk.events.Retracted) and event != sk.TextDelta("no", index)
        ]
        assert said in ([], [sk.Finish("content_filter", index)])


# Any stream, all of whose fields may have the forbidden word

WORD = "bat"  # no hexadecimal number, as the ids are that an assembled answer gives its calls
LETTERS_OF_IT = ["b", "a", "t", "ba", "at", "bat"]
SAYS = st.lists(st.sampled_from([*LETTERS_OF_IT, "BA", "T", "x ", "\\u0062", "b\u00ad"]), max_size=3).map("".join)
SAYS_MORE = st.lists(st.sampled_from(LETTERS_OF_IT), min_size=1, max_size=2).map("".join)
NOTICES = st.sampled_from(["new", "new.delta"])
STRUCTURE = st.builds(
    lambda one, two, three: {"type": "x", "note": one, "more": [two, {"deep": three}]}, SAYS, SAYS, SAYS
)
ANYWHERE: st.SearchStrategy[Any] = st.one_of(
    *(st.builds(kind, SAYS, INDEX) for kind in (sk.TextDelta, sk.ReasoningDelta, sk.RefusalDelta)),
    st.builds(lambda text, index: sk.events.AudioDelta("AAA=", text, index=index), SAYS, INDEX),
    st.builds(
        lambda tool, name, text, index: sk.ToolCallDelta(tool, None, name, text, index),
        PARTS, st.none() | SAYS_MORE, SAYS | SAYS.map(lambda text: f'{{"a": "{text}"}}'), INDEX,
    ),
    # Some providers send the name with every piece.
    st.builds(lambda text, index: sk.ToolCallDelta(0, None, WORD, text, index), st.sampled_from(["{}", "{", "}", ""]), INDEX),
    st.builds(
        lambda text, channel, part, json, index: sk.events.PartDelta(text, channel, part, ("text",), json, index),
        SAYS_MORE, st.sampled_from(["code", "tool_input", "tool_output", "other"]), PARTS, st.booleans(), INDEX,
    ),
    st.builds(lambda data, index: sk.events.Annotation(data, index), STRUCTURE, INDEX),
    st.builds(
        lambda token, other, index: sk.events.Logprobs({"content": [{"token": token, "others": [{"token": other}]}]}, index),
        SAYS, SAYS, INDEX,
    ),
    st.builds(lambda token, index: sk.events.Logprobs({"tokens": ["x"], "top_logprobs": [{token: -1.0}]}, index), SAYS, INDEX),
    st.builds(lambda part, data, index: sk.events.PartStart("p", part, data, index=index), PARTS, STRUCTURE, INDEX),
    st.builds(lambda part, data, index: sk.events.PartEnd(part, data, index=index), PARTS, STRUCTURE, INDEX),
    st.builds(lambda data, index: sk.events.ResponseDetails(data, index=index), STRUCTURE, st.none() | INDEX),
    st.builds(lambda kind, data, index: sk.events.ProviderNotice(kind, data, index), NOTICES, STRUCTURE, INDEX),
    st.builds(lambda text, name, index: sk.StructuredOutput({"a": text}, 0, name=name, index=index), SAYS, SAYS, INDEX),
    st.builds(lambda text, index: sk.events.PartialOutput({"a": text}, index=index), SAYS, INDEX),
    st.builds(lambda path, index: sk.events.InvalidOutput("invalid", f"$.{path}", index=index), SAYS, INDEX),
    st.builds(lambda index: sk.Finish("stop", index), INDEX),
    st.just(sk.events.Reset("again")),
)  # fmt: skip


def texts_of(value: Any) -> Iterator[str]:
    """All strings, but for the names of fields, which are not searched."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from [name] if isinstance(item, float) else texts_of(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from texts_of(item)


def pieces_of(event: Any) -> Iterator[tuple[Any, str]]:
    """The text that a reader appends to what came before, with the place where it is appended."""
    place = (type(event), event.index if hasattr(event, "index") else None)
    match event:
        case sk.TextDelta() | sk.ReasoningDelta() | sk.RefusalDelta():
            yield place, event.text
        case sk.events.AudioDelta():
            yield place, event.transcript or ""
        case sk.ToolCallDelta():
            yield (*place, event.tool_index, "name"), event.name or ""
            yield (*place, event.tool_index), event.arguments
        case sk.events.PartDelta():
            yield (*place, event.part, event.channel), event.text
        case _:
            pass


def says_the_word(text: str) -> bool:
    return WORD in text.lower() or WORD in Unescaped().feed(text, final=True).lower()


def assert_the_word_is_nowhere(released: list[Any]) -> None:
    joined = dict[Any, str]()
    for event in released:
        assert not any(map(says_the_word, texts_of(msgspec.to_builtins(event)))), event
        if isinstance(event, sk.events.Reset):
            joined.clear()
        # A part that is complete begins anew.
        if isinstance(event, sk.events.PartEnd):
            joined = {
                place: text
                for place, text in joined.items()
                if (place[0], *place[1:3]) != (sk.events.PartDelta, event.index, event.number)
            }
        for place, piece in pieces_of(event):
            known = joined.get(place, "")
            # Some providers send the whole name with every piece.
            joined[place] = known if place[-1] == "name" and piece == known else known + piece
            assert not says_the_word(joined[place]), (event, joined[place])


@thorough
@given(
    events=st.lists(ANYWHERE, max_size=14).map(well_formed),
    action=st.sampled_from(["redact", "replace", "block", "stop"]),
    limit=st.sampled_from([None, None, 1, 3, 50]),
    bursts=st.lists(st.integers(0, 16), max_size=4),
    handover=st.none() | st.integers(0, 5),
)
def test_a_forbidden_word_is_in_no_field_of_any_event(
    events: list[Any], action: Any, limit: int | None, bursts: list[int], handover: int | None
) -> None:
    whole = [*events, sk.Finish("stop"), sk.Finish("stop", 1), sk.StreamEnd("completed")]
    in_bursts = [whole[start:end] for start, end in pairwise([0, *sorted(bursts), len(whole)])]
    rule = sk.Rule("forbidden", (WORD,), action=action, replacement="*")

    released = moderated(sk.Moderate(rule, choices=2, max_hold_chars=limit), in_bursts, handover)

    assert_the_word_is_nowhere(released)
    for event in sk.Accumulate().run(released):
        if isinstance(event, sk.Completion):
            assert not any(map(says_the_word, texts_of(event.to_dict())))
            assert not any(map(says_the_word, texts_of(event.to_openai())))
    over = set[int]()
    for event in released:
        if isinstance(event, sk.events.Reset):
            over.clear()
        elif isinstance(event, sk.Blocked):
            over.add(event.index)
        elif getattr(event, "index", None) in over:
            assert isinstance(event, sk.Finish | sk.events.InvalidOutput), event


# Any windows


BLOCKS = {"abba": "block", "bb": "redact", "x": "annotate", "ba": "stop", "c": "block"}
REPLACES = {"abba": "replace", "bb": "redact", "x": "annotate", "ba": "annotate", "c": "replace"}


def decision(window: sk.moderation.Window, actions: dict[str, str]) -> sk.moderation.Decision:
    """By the text of the window alone."""
    for word, action in actions.items():
        if word in window.text:
            return sk.moderation.Decision(action, word, replacement="*", message="no")  # type: ignore[arg-type]
    return sk.moderation.Decision()


def classified(
    policy: Policy,
    windows: sk.moderation.Windows,
    actions: dict[str, str],
    events: list[Any],
    order: Random | None,
    channels: tuple[Any, ...] = CHANNELS_OF_TEXT,
) -> list[Any]:
    """The events released if each decision arrives at once, or some of them later; then also by way of checkpoints."""
    classifying = Classifying(windows, policy, channels)
    out, taken = list[Any](), list[sk.moderation.Window]()

    def decide(last: bool) -> None:
        while (window := classifying.take()) or (taken and (last or order is None or order.random() < 0.4)):
            if window:
                taken.append(window)
                continue
            chosen = taken.pop(order.randrange(len(taken)) if order else 0)
            out.extend(classifying.decide(chosen.id, Outcome(decision(chosen, actions))))

    for event in events:
        out += classifying.feed(event)
        if order and order.random() < 0.1:
            state = json.loads(json.dumps(classifying.state()))
            classifying = Classifying(windows, policy, channels)
            classifying.restore(state)
            taken.clear()  # they are sent again
        decide(last=False)
        if classifying.done:
            return out
    out += classifying.end()
    decide(last=True)
    assert classifying.done or policy.mode == "observe" or classifying.undecided == 0
    return out


NOT_CLASSIFIED = (sk.ToolCallDelta, sk.events.Annotation, sk.events.Logprobs, sk.events.PartStart, sk.events.PartEnd)
FORBIDS = {action: {WORD: action, WORD.upper(): action} for action in ("redact", "replace", "block", "stop")}


@thorough
@given(
    events=st.lists(ANYWHERE, max_size=14).map(well_formed),
    action=st.sampled_from([*FORBIDS]),
    seed=st.none() | st.integers(0, 1 << 16),
)
def test_a_word_that_a_classifier_withholds_is_in_no_event_that_it_classifies(
    events: list[Any], action: str, seed: int | None
) -> None:
    whole = [event for event in events if not isinstance(event, NOT_CLASSIFIED)]
    policy = Policy("hold", True, 2, None, None, "block", None, False)

    released = classified(
        policy,
        sk.moderation.Windows(),
        FORBIDS[action],
        [*whole, sk.StreamEnd("completed")],
        Random(seed) if seed is not None else None,
        CLASSIFIED,
    )

    for event in released:
        if not isinstance(event, sk.events.Checked | sk.Redacted | sk.Blocked):
            assert not any(WORD in text or WORD.upper() in text for text in texts_of(msgspec.to_builtins(event))), event


def of_choice(events: list[Any], index: int) -> list[Any]:
    """The released events of one choice, with adjacent text joined, without the durations of checks."""
    return normal(
        [event for event in events if getattr(event, "index", None) == index and type(event) is not sk.events.Checked]
    )


@thorough
@given(
    events=STREAMS,
    windows=st.builds(
        lambda sentences, chars: sk.moderation.Windows(sentences=sentences, chars=chars),
        st.sampled_from([None, 1]),
        st.sampled_from([1, 2, 5]),
    ),
    mode=st.sampled_from(["hold", "observe", "optimistic"]),
    actions=st.sampled_from([BLOCKS, REPLACES]),
    seed=st.integers(0, 1 << 16),
)
def test_the_order_of_decisions_changes_nothing_in_a_choice(
    events: list[Any], windows: sk.moderation.Windows, mode: Any, actions: dict[str, str], seed: int
) -> None:
    # `Reset` discards what is not decided yet. And a citation may quote text that arrives after it and is withheld: it is
    # released if what it stands behind is decided before that.
    events = well_formed([event for event in events if not isinstance(event, sk.events.Reset | sk.events.Annotation)])
    # `stop` ends other choices at once: at which of their events depends on when it is decided. And so does whether a
    # window is classified at all that would block behind one that replaces the rest of its text.
    policy = Policy(mode, True, 2, None, None, "block", None, False)
    at_once = classified(policy, windows, actions, events, None)
    if any(isinstance(event, sk.Blocked) and event.action == "stop" for event in at_once):
        return
    later = classified(policy, windows, actions, events, Random(seed))
    if mode == "hold":
        for index in (0, 1):
            assert of_choice(later, index) == of_choice(at_once, index)
    elif not any(isinstance(event, sk.Blocked) for event in at_once):
        # Of several channels the verdicts are reported as they arrive, and one that blocks ends those of all.
        assert verdicts(later) == verdicts(at_once)


def verdicts(events: list[Any]) -> list[Any]:
    found = [event for event in events if isinstance(event, sk.events.Flagged | sk.Redacted)]
    return sorted(found, key=lambda event: (event.index, event.channel))


# Any expression

ATOMS = st.sampled_from([
    *"aabbc ", ".", r"\b", r"\B", r"\m", r"\M", "^", "$", r"\Z", r"\z", r"\A", r"\w", r"\W", r"\s", r"\d", "[ab]", "[^a]", "[]a]",
    "[^]b]", r"[\]a]", "[[:alpha:]]", "[a[:space:]]", "[[ab]", r"\n", r"\R", "(?#x)", r"\1", r"\2", "(?P=n)", "(?&n)", "(?1)",
    r"\p{L}", r"\x61", r"\141", "[a-b]", "# ", "(*FAIL)", "\n", "ſ", "K", "İ", "é",
])  # fmt: skip
GROUPS = "( (?: (?= (?! (?<= (?<! (?> (?| (?i: (?s: (?m: (?x: (?P<n> (?(1) (?(?=a) (?-i: (?a: (?V1)(?-f)(?:"
QUANTIFIERS = "* + ? {2} {1,2} {,2} {2,} *? +? ?? {0,2}? *+ ++ ?+ {1,2}+"
EXPRESSIONS = st.recursive(
    ATOMS,
    lambda inner: (
        st.builds("{}{}".format, inner, inner)
        | st.builds("{}|{}".format, inner, inner)
        | st.builds("{}{})".format, st.sampled_from(GROUPS.split(" ")), inner)
        | st.builds("{}{}".format, inner, st.sampled_from(QUANTIFIERS.split(" ")))
        | st.builds("(?:{}){}".format, inner, st.sampled_from(QUANTIFIERS.split(" ")))
    ),
    max_leaves=8,
)
FLAGS = st.sampled_from(["", "", "", "(?x)", "(?m)", "(?s)", "(?a)", "(?xm)"])


@pytest.mark.filterwarnings("ignore::FutureWarning")
@thorough
@given(
    source=st.builds("{}{}".format, FLAGS, EXPRESSIONS),
    ignore_case=st.booleans(),
    texts=st.lists(st.text("aabc \nA_1ſKé", max_size=9), max_size=6),
    at=st.lists(st.integers(0, 9), max_size=3),
)
@example("(?x)secret # [x\n\\B # ]\n", True, ["secret", "secrets"], [3])
@example(r"b(?<=\B)", True, ["ab", "ab c"], [1])
@example(r"a\z", True, ["a", "ab", "a\n"], [1])
def test_an_expression_that_is_accepted_matches_the_same_however_the_text_is_split(
    steps: None, source: str, ignore_case: bool, texts: list[str], at: list[int]
) -> None:
    try:
        expression = compiled(source, ignore_case)
    except sk.PipelineError:
        return
    rule = sk.Rule("x", patterns=(source,), replacement="*", ignore_case=ignore_case, seconds=1.0)
    for text in texts:
        whole = [match.span() for match in expression.pattern.finditer(text) if match[0]]
        for pieces in ([text], [*text], cut(text, at)):
            reading, found = Reading((rule,)), list[tuple[int, int]]()
            for piece in [*pieces, None]:
                out = reading.feed(piece or "", final=piece is None)
                found += [(one.start, one.end) for one in out if one.rule]
            assert found == whole, (source, text, pieces)
