"""Which dialect an answer is in, told by the first event that tells."""

from typing import Any

import pytest

import streamkit as sk
from streamkit import Extract, plugins
from streamkit.dialects.cohere import CohereChat
from streamkit.dialects.openai import OpenAICompletions
from streamkit.sse.events import ServerSentEvent

PING = b'event: ping\ndata: {"type": "ping"}\n\n'
PIPELINE = sk.sse.Lines() | sk.Parse() | sk.Extract() | sk.Accumulate()
OPENAI = b'data: {"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
ANTHROPIC = (
    b'event: message_start\ndata: {"type":"message_start","message":{"id":"m","role":"assistant","content":[]}}\n\n'
    b'event: content_block_start\ndata: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":"Hi"}}\n\n'
    b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn"}}\n\n'
    b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
)


def read(body: bytes, size: int) -> list[sk.Event]:
    return list(PIPELINE.run(iter([body[at : at + size] for at in range(0, len(body), size)])))


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize("body", [OPENAI, ANTHROPIC], ids=["openai", "anthropic"])
@pytest.mark.parametrize("before", [b"", PING, PING * 3, b": hello\n\n", b'data: {"open": true}\n\n'])
def test_what_comes_before_the_event_that_tells_decides_nothing_and_is_passed_on(
    before: bytes, body: bytes, size: int
) -> None:
    events = read(before + body, size)
    (completion,) = (event for event in events if isinstance(event, sk.Completion))
    assert completion.text == "Hi"
    assert events[-1] == sk.StreamEnd("completed", saw_done=True)
    notices = [event for event in events if isinstance(event, sk.events.ProviderNotice)]
    assert len(notices) == before.count(b"data:")


def test_an_error_that_comes_alone_is_the_providers() -> None:
    with pytest.raises(sk.ProviderError) as caught:
        read(PING + b'data: {"error": {"message": "no", "code": 429}}\n\n', 10_000)
    assert (caught.value.code, caught.value.retryable) == (429, True)


def test_an_error_names_the_event_by_its_place_among_all() -> None:
    with pytest.raises(sk.errors.ProtocolError, match=r"^event 5: "):
        read(PING + PING + ANTHROPIC[: ANTHROPIC.index(b"event: message_delta")] + b"data: oops\n\n", 50)


def test_a_body_without_any_event_is_truncated() -> None:
    assert read(b"", 1) == [sk.Completion(end="truncated"), sk.StreamEnd("truncated")]


def test_a_dialect_of_an_installed_package_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "find", lambda group, name: {("dialects", "other"): CohereChat}.get((group, name)))
    word = b'data: {"type": "content-delta", "delta": {"message": {"content": {"text": "Hi"}}}}\n\n'
    assert sk.TextDelta("Hi") in list((sk.sse.Lines() | sk.Parse() | Extract("other")).run([word]))
    with pytest.raises(
        sk.PipelineError,
        match=r"^expected one of the dialects anthropic, .*, writer or package.module:name; found 'another'",
    ):
        Extract("another")


def test_what_a_package_offers_and_is_no_dialect_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "find", lambda group, name: print)
    with pytest.raises(sk.errors.PluginError, match=r"^streamkit\.dialects: 'other' is not a subclass of Dialect$"):
        Extract("other")


def test_events_of_a_kind_that_is_not_known_are_counted_and_passed_on() -> None:
    kinds = ["message_start", "ping", "sparkle", "sparkle", "glow", "message_stop"]
    body = "".join(f'event: {kind}\ndata: {{"type": "{kind}", "n": {at}}}\n\n' for at, kind in enumerate(kinds))

    run = (sk.sse.Lines() | sk.Parse() | Extract()).run([body.encode()])
    notices = [event for event in run if isinstance(event, sk.events.ProviderNotice)]

    assert run.stage(Extract).unknown == {"sparkle": 2, "glow": 1}
    assert [notice.kind for notice in notices] == ["ping", "sparkle", "sparkle", "glow"]
    assert notices[1].raw == {"type": "sparkle", "n": 2}


def test_a_server_that_makes_its_kinds_up_fills_no_memory() -> None:
    body = "".join(f'data: {{"type": "kind-{at}"}}\n\n' for at in range(1000))

    run = (sk.sse.Lines() | sk.Parse() | Extract("anthropic")).run([body.encode()])

    assert len(list(run)) == 1001
    assert len(run.stage(Extract).unknown) == 101
    assert run.stage(Extract).unknown["others"] == 900


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_chunks_that_are_alike_are_learnt_from_in_the_first_burst_too(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[object] = []
    slowly = OpenAICompletions._read_one
    monkeypatch.setattr(OpenAICompletions, "_read_one", lambda *given: (read.append(given), slowly(*given))[1])
    chunks = [
        ServerSentEvent.of(f'{{"id":"c","choices":[{{"index":0,"delta":{{"content":"{number}"}}}}]}}')
        for number in range(500)
    ]
    stage = sk.Extract().fresh()
    events = [event for at in range(0, 500, size) for event in stage.feed_all(chunks[at : at + size])]
    assert "".join(event.text for event in events if isinstance(event, sk.TextDelta)) == "".join(map(str, range(500)))
    assert len(read) < 10


def test_a_dialect_is_found_as_module_and_name() -> None:
    by_name, by_class = Extract("streamkit.dialects.cohere:CohereChat"), Extract(CohereChat)

    assert by_name.detected is by_class.detected is CohereChat
    assert sk.pipelines.loads(sk.pipelines.dumps(by_name)) == by_name
    assert sk.pipelines.loads(sk.pipelines.dumps(by_class)) == by_class


@pytest.mark.parametrize(
    ("dialect", "message"),
    [
        ("no_such_module:Lark", "'no_such_module:Lark' can't be found: No module named 'no_such_module'"),
        ("streamkit.dialects.cohere:Lark", "'streamkit.dialects.cohere:Lark' can't be found: "),
        ("streamkit.dialects.cohere:", "expected a name as package.module:name, found 'streamkit.dialects.cohere:'"),
        ("streamkit:Parse", "expected the name of a dialect or a subclass of Dialect, found the class Parse"),
        (int, "expected the name of a dialect or a subclass of Dialect, found the class int"),
        (5, "expected the name of a dialect or a subclass of Dialect, found an object of type int"),
    ],
)
def test_what_is_no_dialect_is_refused_when_the_stage_is_made(dialect: Any, message: str) -> None:
    with pytest.raises(sk.PipelineError, match=f"^{message}"):
        Extract(dialect)
