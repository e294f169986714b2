"""Fields of a response and of a choice without an event of their own are stored and restored."""

from typing import Any

import pytest

import streamkit as sk
from streamkit.dialects.openai.chunks import ChunkReader
from tests.dialects.streams import Result, read, sse

DONE = "[DONE]"
HEAD = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}


def chunk(
    content: str = "", finish: str | None = None, choice: dict[str, Any] | None = None, **beside: Any
) -> dict[str, Any]:
    said = {"index": 0, "delta": {"content": content}, "finish_reason": finish, **(choice or {})}
    return {**HEAD, "choices": [said], **beside}


def details(result: Result) -> list[tuple[dict[str, Any], int | None]]:
    return [(event.details, event.index) for event in result.of(sk.events.ResponseDetails)]


@pytest.mark.parametrize(
    "beside",
    [
        {"citations": ["https://example.com/a", "https://example.com/b"]},
        {"search_results": [{"title": "Grus", "url": "https://example.com"}]},
        {"provider": "Anthropic"},
        {"x_groq": {"id": "req_1"}},
        {"something new": {"a": [1]}},
    ],
    ids=lambda beside: next(iter(beside)),
)
@pytest.mark.parametrize("where", ["first", "last", "every", "alone"])
def test_other_fields_of_a_response_are_kept(beside: dict[str, Any], where: str) -> None:
    alone = [{**HEAD, "choices": [], **beside}] if where == "alone" else []
    first, middle, last = (beside if where in (name, "every") else {} for name in ("first", "middle", "last"))
    body = sse(chunk("Hi", **first), *alone, chunk(" you", **middle), chunk(".", "stop", **last), DONE)

    result = read(body)

    assert result.completion.details == beside
    assert result.completion.to_dict().items() >= beside.items()
    assert result.completion.text == "Hi you."
    assert details(result) == [(beside, None)]


def test_other_fields_of_a_choice_are_kept() -> None:
    body = sse(
        chunk("Hi", choice={"native_finish_reason": None}),
        chunk("", "stop", choice={"native_finish_reason": "end_turn", "stop_reason": 128009}),
        DONE,
    )

    (choice,) = read(body).completion.to_dict()["choices"]

    assert (choice["finish_reason"], choice["native_finish_reason"], choice["stop_reason"]) == (
        "stop",
        "end_turn",
        128009,
    )


def test_a_changing_field_is_emitted_first_and_with_its_last_value_at_the_end() -> None:
    body = sse(
        *(chunk("a", timings={"n": n}, choice={"seen": n}) for n in range(1, 50)),
        chunk("", "stop", timings={"n": 50}),
        DONE,
    )

    result = read(body)

    assert details(result) == [
        ({"timings": {"n": 1}}, None),
        ({"seen": 1}, 0),
        ({"seen": 49}, 0),
        ({"timings": {"n": 50}}, None),
    ]
    assert result.completion.to_dict()["timings"] == {"n": 50}


@pytest.mark.parametrize("empty", [None, "", [], {}], ids=repr)
def test_a_later_empty_value_does_not_replace_an_earlier_one(empty: Any) -> None:
    result = read(sse(chunk("Hi", citations=["a"]), chunk("", "stop", citations=empty), DONE))

    assert result.completion.details == {"citations": ["a"]}


def test_padding_is_not_part_of_the_answer() -> None:
    result = read(sse(chunk("Hi", obfuscation="xyz", p="ab"), chunk("", "stop", obfuscation="z"), DONE))

    assert details(result) == []


@pytest.mark.parametrize("ending", [[], ["{broken"], [{"error": {"code": 1}}]], ids=["cut", "damaged", "an error"])
def test_the_last_change_is_kept_if_the_stream_is_cut(ending: list[Any]) -> None:
    result = read(sse(chunk("a", timings={"n": 1}), chunk("b", timings={"n": 2}), *ending))

    assert result.of(sk.events.ResponseDetails)[-1].details == {"timings": {"n": 2}}


def test_a_learnt_name_is_then_read_by_the_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    from streamkit.dialects.openai import chunks as openai_chunks

    reader, read_leniently = ChunkReader(), list[str]()
    lenient = openai_chunks._lenient
    monkeypatch.setattr(openai_chunks, "_lenient", lambda payload: read_leniently.append(payload) or lenient(payload))
    payload = '{"choices":[{"index":0,"delta":{"content":"a"},"native_finish_reason":"x"}],"provider":"P","a b":1}'

    reader.read(payload)
    chunk = reader.decode(payload)

    assert len(read_leniently) == 1
    assert chunk.beside == {"provider": "P", "a b": 1}
    assert chunk.choices
    assert chunk.choices[0].beside == {"native_finish_reason": "x"}


@pytest.mark.parametrize("name", ["", "\x1f", '"', "\\", "é", "\ufdd0", "beside", "x" * 500, "choices\n", "__class__"])
def test_a_name_with_any_characters_is_kept(name: str) -> None:
    result = read(sse(chunk("a", **{name: 1}), chunk("b", **{name: 1}), chunk("", "stop"), DONE))

    assert result.completion.text == "ab"
    assert result.completion.details == {name: 1}


def test_a_server_that_generates_names_is_read_too() -> None:
    chunks = [chunk("a", **{f"field {number}": number}) for number in range(200)]

    result = read(sse(*chunks, chunk("", "stop"), DONE))

    assert result.completion.text == "a" * 200
    assert len(result.completion.details) == 200
