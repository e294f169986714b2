"""The short cut for chunks that differ in one string alone says what decoding every chunk would say."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamkit import Event, ProtocolError, ProviderError, ServerSentEvent, TextDelta, ToolCallDelta
from streamkit.dialects.openai import OpenAICompletions
from streamkit.dialects.template import Template, unescape


class NeverLearns(Template):
    def consider(self, payload: str, event: Event) -> None:
        return


def readers() -> tuple[OpenAICompletions, OpenAICompletions]:
    """One as it is, and one that decodes every chunk."""
    full = OpenAICompletions()
    full._template = NeverLearns()
    return OpenAICompletions(), full


def outcome(reader: OpenAICompletions, payloads: list[str], size: int) -> tuple[list[Event], str]:
    """The events, and the error that ended them."""
    events = list[Event]()
    try:
        for at in range(0, len(payloads), size):
            events.extend(reader.feed_all([ServerSentEvent("message", data) for data in payloads[at : at + size]]))
        events.extend(reader.flush())
    except (ProtocolError, ProviderError) as error:
        return events, repr(error)
    return events, ""


# `@` is where the string stands that is drawn, `~` a short one beside it.
SHAPES = [
    '{"id":"1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"@"},"finish_reason":null}]}',
    '{"id": "1", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": "@"}}]}',
    '{"id":"~","choices":[{"index":0,"delta":{"content":"@"}}]}',
    '{"choices":[{"index":0,"delta":{"content":"@"}}]}',
    '{"choices":[{"index":1,"delta":{"content":"@"}}]}',
    '{"choices":[{"index":"1","delta":{"content":"@"}}]}',
    '{"choices":[{"delta":{"content":"@"}}]}',
    '{"choices":[{"index":0,"delta":{"role":"~","content":"@"}}]}',
    '{"choices":[{"index":0,"delta":{"content":"@"},"finish_reason":"~"}]}',
    '{"choices":[{"index":0,"delta":{"content":"@"},"logprobs":{"content":[{"token":"~"}]}}]}',
    '{"choices":[{"index":0,"delta":{"content":"@"}}],"obfuscation":"~"}',
    '{"choices":[{"index":0,"delta":{"content":"@"}}],"usage":{"total_tokens":1}}',
    '{"choices":[{"index":0,"delta":{"content":"@"}}],"error":{}}',
    '{"choices":[{"index":0,"delta":{"content":"@"}},{"index":1,"delta":{"content":"~"}}]}',
    '{"choices":[{"index":0,"delta":{"content":"@"}},{"index":1,"delta":{}}]}',
    '{"choices":[{"index":0,"delta":{"content":"~","content":"@"}}]}',
    '{"choices":[{"index":0,"delta":{"content":"@","content":"~"}}]}',
    '{"choices":[{"index":0,"delta":{"content":[{"type":"text","text":"@"}]}}]}',
    '{"choices":[{"index":0,"delta":{"content":"@","refusal":"~"}}]}',
    '{"choices":[{"index":0,"message":{"content":"@"}}]}',
    '{"object":"text_completion","choices":[{"text":"@","index":0,"logprobs":null,"finish_reason":null}]}',
    '{"choices":[{"text":"@","index":0,"delta":{"content":"~"}}]}',
    '{"choices":[{"text":"~","index":0,"delta":{"content":"@"}}]}',
    '{"choices":[{"text":"@","index":0,"delta":null}]}',
    '{"choices":[{"text":"@","index":0,"delta":{}}]}',
    '{"choices":[{"index":0,"delta":{"reasoning_content":"@"}}]}',
    '{"choices":[{"index":0,"delta":{"reasoning":"@"}}]}',
    '{"choices":[{"index":0,"delta":{"reasoning":"@","reasoning_content":"~"}}]}',
    '{"choices":[{"index":0,"delta":{"reasoning_content":"~","reasoning":"@"}}]}',
    '{"choices":[{"index":0,"delta":{"reasoning":"~","content":"@"}}]}',
    '{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"@"}}]}}]}',
    '{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"","type":"","function":{"name":"","arguments":"@"}}]}}]}',
    '{"choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"function":{"arguments":"@"}}]}}]}',
    '{"choices":[{"index":0,"delta":{"tool_calls":[{"function":{"arguments":"@"}}]}}]}',
    '{"choices":[{"index":0,"delta":{"tool_calls":[{"id":"~","function":{"arguments":"@"}}]}}]}',
    '{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"~","function":{"name":"f","arguments":"@"}}]}}]}',
    '{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":{"text":"@"}}}]}}]}',
    '{"choices":[{"index":0,"delta":{"function_call":{"arguments":"@"}}}]}',
    '{"id":"2","choices":[]}',
    '{"choices":[{"index":0,"delta":{"role":"tool"}}]}',
    "@",
]
# What may stand in the place of the string: its inside, or something that closes it and opens others.
INSIDES = [
    *(
        "",
        "a",
        "probe",
        " b",
        "é",
        "漢",
        "😀",
        "\u2028",
        "\u00a0",
        "\x7f",
        "\\n",
        "\\\\",
        '\\"',
        "\\u00e9",
        "\\ud83d\\ude00",
    ),
    *("\\ud83d", "\\", '"', "\n", "\x01", "\\x", "\ud83d", "\ufffd", "[DONE]", "<html>", '{\\"a\\": 1}'),
    *('","role":"tool', '","x":"', '"},"finish_reason":"stop","y":{"z":"', '"}]}', '{"choices":[', '","content":"'),
]
PAYLOADS = st.builds(
    lambda shape, inside, beside: shape.replace("@", inside).replace("~", beside),
    st.sampled_from(SHAPES),
    st.lists(st.sampled_from(INSIDES), max_size=3).map("".join),
    st.sampled_from(["", "k", "m"]),
)


@settings(deadline=None, max_examples=600)
@given(st.lists(PAYLOADS, max_size=10), st.integers(1, 10))
def test_it_agrees_with_decoding_every_chunk(payloads: list[str], size: int) -> None:
    short, full = readers()

    assert outcome(short, payloads, size) == outcome(full, payloads, 1)


@pytest.mark.parametrize("shape", SHAPES)
def test_it_agrees_where_one_shape_repeats(shape: str) -> None:
    payloads = [shape.replace("@", text) for text in ("Hel", "lo", " wor", "ld")]
    short, full = readers()

    assert outcome(short, payloads, 1) == outcome(full, payloads, 1)


@settings(deadline=None, max_examples=400)
@given(
    st.lists(st.sampled_from(SHAPES), min_size=1, max_size=3, unique=True),
    st.lists(st.tuples(st.integers(0, 2), st.sampled_from(INSIDES), st.sampled_from(["k", "m"])), max_size=12),
    st.integers(1, 12),
)
def test_it_agrees_where_few_shapes_alternate(shapes: list[str], draws: list[tuple[int, str, str]], size: int) -> None:
    payloads = [shapes[at % len(shapes)].replace("@", inside).replace("~", beside) for at, inside, beside in draws]
    short, full = readers()

    assert outcome(short, payloads, size) == outcome(full, payloads, 1)


CHUNK = '{"id":"1","choices":[{"index":0,"delta":{"content":"@"}}]}'
FINISH = '{"id":"1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}'


def test_it_is_taken_for_the_chunks_that_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = list[str]()
    read_one = OpenAICompletions._read_one

    def watched(self: OpenAICompletions, item: ServerSentEvent, number: int, out: list[Event]) -> None:
        decoded.append(item.data)
        read_one(self, item, number, out)

    monkeypatch.setattr(OpenAICompletions, "_read_one", watched)
    payloads = [CHUNK.replace("@", text) for text in ["a", "b", "c", "\\n", "\\ud83d\\ude00"]]

    events, _ = outcome(OpenAICompletions(), [*payloads, FINISH], 3)

    assert [event.text for event in events if isinstance(event, TextDelta)] == ["a", "b", "c", "\n", "😀"]
    # The first has the id too, the second is the model.
    assert decoded == [*payloads[:2], FINISH]


def test_the_number_of_a_bad_event_counts_those_that_took_it() -> None:
    payloads = [CHUNK.replace("@", text) for text in "abcde"]

    _, error = outcome(OpenAICompletions(), [*payloads, "bad"], 2)

    assert "event 6: expected JSON" in error


def test_what_it_reads_keeps_its_own_raw_chunk() -> None:
    payloads = [CHUNK.replace("@", text) for text in "abc"]

    events, _ = outcome(OpenAICompletions(), payloads, 3)

    raw = [event.raw for event in events if isinstance(event, TextDelta)]
    assert raw == [{"id": "1", "choices": [{"index": 0, "delta": {"content": text}}]} for text in "abc"]


@pytest.mark.parametrize(
    ("between", "again"),
    [
        ('{"id":"2","choices":[]}', "ResponseStart"),
        ('{"id":"1","choices":[{"index":0,"delta":{"role":"tool"}}]}', "RoleDelta"),
    ],
    ids=["another id", "another role"],
)
def test_a_chunk_that_fits_is_told_in_full_after_something_changed(between: str, again: str) -> None:
    payloads = [CHUNK.replace('"content":"@"', f'"role":"assistant","content":"{text}"') for text in "abcd"]

    events, _ = outcome(OpenAICompletions(), [*payloads[:3], between, payloads[3]], 5)

    assert [type(event).__name__ for event in events[-4:]] == [again, again, "TextDelta", "StreamEnd"]


def test_a_piece_of_a_tool_call_without_an_index_goes_on_with_the_last_call() -> None:
    piece = '{"choices":[{"index":0,"delta":{"tool_calls":[{"function":{"arguments":"@"}}]}}]}'
    begin = '{"choices":[{"index":0,"delta":{"tool_calls":[{"id":"@","function":{"name":"f"}}]}}]}'
    payloads = [begin.replace("@", "one"), *[piece.replace("@", text) for text in "abc"]]

    events, _ = outcome(OpenAICompletions(), [*payloads, begin.replace("@", "two"), piece.replace("@", "d")], 6)

    assert [event.tool_index for event in events if isinstance(event, ToolCallDelta)] == [0, 0, 0, 0, 1, 1]


@pytest.mark.parametrize(
    ("literal", "text"),
    [
        ("a", "a"),
        ("\\n\\u00e9\\ud83d\\ude00", "\né😀"),
        ('"', ""),
        ("\\", ""),
        ('a","b', ""),
        ("\n", ""),
        ("\ud83d", ""),
        ("\\ud83d", ""),
    ],
    ids=[
        "plain",
        "escapes",
        "a quote",
        "a backslash",
        "two strings",
        "a control character",
        "a surrogate",
        "half a pair",
    ],
)
def test_only_the_inside_of_one_string_is_unescaped(literal: str, text: str) -> None:
    assert unescape(literal) == text


@pytest.mark.parametrize("shape", SHAPES)
def test_no_chunk_brings_anything_but_a_protocol_or_a_provider_error(shape: str) -> None:
    errors = {outcome(OpenAICompletions(), [shape.replace("@", inside)], 1)[1].partition("(")[0] for inside in INSIDES}

    assert errors <= {"", "ProtocolError", "ProviderError"}
