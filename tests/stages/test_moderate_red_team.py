"""Every attempt of the red team, in every piece it can come in: what is read and what is told are as expected."""

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from random import Random
from time import process_time

import msgspec
import pytest

import streamkit as sk
from tests.moderation.red_team import SCENES, SHAPES, UNICODE, Attempt, Scene, Verdict

END = sk.StreamEnd("completed", True)
ATTEMPTS = [*UNICODE, *SHAPES]


def pieces(text: str) -> Iterator[list[str]]:
    """The text whole, with every single cut, character by character, and cut by chance."""
    choose = Random(text)
    yield [text]
    yield [*text]
    for at in range(1, len(text)):
        yield [text[:at], text[at:]]
    for _ in range(12):
        cuts = sorted(choose.sample(range(1, len(text)), min(choose.randint(2, 8), len(text) - 1)))
        yield [text[start:end] for start, end in pairwise([0, *cuts, len(text)])]


def verdicts(events: Iterable[sk.Event]) -> list[Verdict]:
    told = (event for event in events if isinstance(event, sk.events.Flagged | sk.Redacted | sk.Blocked))
    return [(event.category, event.start, event.end) for event in told]


def read(events: Iterable[sk.Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, sk.TextDelta))


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda attempt: attempt.name)
def test_an_attempt_fails_in_any_pieces(attempt: Attempt) -> None:
    stage = sk.Moderate(attempt.rules)
    for cut in pieces(attempt.text):
        run, out = stage.fresh(), list[sk.Event]()
        for event in [*map(sk.TextDelta, cut), sk.Finish("stop"), END]:
            out += run.feed(event)
            assert attempt.released.startswith(read(out)), cut
        out += run.flush()
        assert (read(out), tuple(verdicts(out))) == (attempt.released, attempt.verdicts), cut


CHUNK = '{"object": "chat.completion.chunk", "model": "m", "choices": [{"index": 0, "delta": %s, "finish_reason": %s}]}'


def body(cut: Sequence[str], *, ascii: bool) -> bytes:
    chunks = [CHUNK % (json.dumps({"content": piece}, ensure_ascii=ascii), "null") for piece in cut]
    return "".join(f"data: {chunk}\n\n" for chunk in [*chunks, CHUNK % ("{}", '"stop"'), "[DONE]"]).encode()


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda attempt: attempt.name)
def test_an_attempt_fails_as_bytes_of_a_stream(attempt: Attempt) -> None:
    pipeline = sk.sse.Lines() | sk.Parse() | sk.Extract() | sk.Moderate(attempt.rules)
    choose = Random(attempt.name)
    for ascii, cut in zip((True, False), ([*attempt.text], [attempt.text]), strict=True):
        sent = body(cut, ascii=ascii)
        cuts = sorted(choose.choices(range(len(sent)), k=12))
        out = list(pipeline.run([sent[start:end] for start, end in pairwise([0, *cuts, len(sent)])]))
        assert (read(out), tuple(verdicts(out))) == (attempt.released, attempt.verdicts), (ascii, cuts)


def broken(event: sk.Event, cut: Sequence[str]) -> list[sk.Event]:
    """The same event in pieces, if it has text."""
    if isinstance(event, sk.events.PartStart | sk.events.PartEnd):
        return [event]
    if not isinstance(event, sk.ToolCallDelta):
        return [msgspec.structs.replace(event, text=piece) for piece in cut]
    first, *rest = cut
    later = (sk.ToolCallDelta(event.tool_index, arguments=piece, index=event.index) for piece in rest)
    return [msgspec.structs.replace(event, arguments=first), *later]


def said(event: sk.Event) -> str:
    if isinstance(event, sk.ToolCallDelta):
        return event.arguments
    return event.text if isinstance(event, sk.TextDelta | sk.ReasoningDelta | sk.RefusalDelta) else " "


def scenes(events: Sequence[sk.Event]) -> Iterator[list[sk.Event]]:
    """The events with one of them in pieces, and all of them in single characters."""
    texts = [said(event) for event in events]
    yield [piece for event, text in zip(events, texts, strict=True) for piece in broken(event, [*text])]
    for number, event in enumerate(events):
        for cut in pieces(texts[number]):
            yield [*events[:number], *broken(event, cut), *events[number + 1 :]]


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_texts_join_where_they_should_and_nowhere_else(scene: Scene) -> None:
    stage = sk.Moderate(scene.rules, choices=2)
    for events in scenes(scene.events):
        out = list(stage.run([*events, END]))
        found = dict[str, str]()
        for event in out:
            if isinstance(event, sk.TextDelta | sk.ReasoningDelta | sk.RefusalDelta):
                place, text = f"{type(event).__name__} {event.index}", event.text
            elif isinstance(event, sk.ToolCallDelta):
                place, text = f"ToolCallDelta {event.tool_index}", event.arguments
            else:
                continue
            found[place] = found.get(place, "") + text
        assert found == scene.released, events
        assert sorted(verdicts(out)) == sorted(scene.verdicts), events


def test_text_without_a_decision_waits_in_bounds_and_has_a_verdict() -> None:
    rule = sk.Rule("x", patterns=("<<.*>>",), replacement="[…]", max_match=1_000)
    stage, most, out = sk.Moderate(rule).fresh(), 0, list[sk.Event]()

    for piece in ["<<", *["word " * 10] * 400]:
        out += stage.feed(sk.TextDelta(piece))
        most = max(most, stage.held)
    out += stage.flush()

    assert most < 2_000
    assert verdicts(out) == [("x", 0, 1_000)]
    assert read(out) == "[…]" + ("<<" + "word " * 4_000)[1_000:]


def test_a_catastrophe_is_told_in_the_time_it_was_given() -> None:
    rule = sk.Rule("x", patterns=(r"(?:a|aa)+$",), seconds=0.02)
    began, out = process_time(), list(sk.Moderate(rule).run([sk.TextDelta("ok "), sk.TextDelta("a" * 60 + "b"), END]))

    assert (read(out), verdicts(out)) == ("ok ", [("x", 3, 64)])
    assert process_time() - began < 2
