"""Hugging Face's Text Generation Inference: its own API."""

import json
from typing import Any

import pytest

import streamkit as sk
from streamkit.dialects import for_event
from streamkit.dialects.tgi import TextGenerationInference
from tests.dialects.streams import DATA, read, sse

STREAMED = (DATA / "tgi.sse").read_bytes()


def token(text: str, *, special: bool = False, **more: Any) -> dict[str, Any]:
    said = {"id": 1, "text": text, "logprob": -0.5, "special": special}
    return {"token": said, "generated_text": None, "details": None, **more}


def test_an_answer_is_its_tokens_without_the_special_ones() -> None:
    found = read(STREAMED)

    assert [event.text for event in found.of(sk.TextDelta)] == ["Grüße", " 👩‍💻"]
    assert [entry["text"] for entry in (found.choice.logprobs or {})["generated"]] == ["Grüße", " 👩‍💻", "</s>"]
    assert (found.choice.finish_reason, found.end) == ("eos_token", sk.StreamEnd("completed", saw_done=True))


@pytest.mark.parametrize(
    ("word", "reason"), [("length", "length"), ("eos_token", "completed"), ("stop_sequence", "completed")]
)
def test_how_an_answer_ends(word: str, reason: str) -> None:
    details = {"finish_reason": word, "generated_tokens": 2, "input_length": 5, "seed": None}

    found = read(sse(token("Blue"), token(" sky", generated_text="Blue sky", details=details)))

    assert (found.choice.text, found.choice.finish_reason, found.end.reason) == ("Blue sky", word, reason)
    assert found.completion.usage == sk.Usage(5, 2, 7, {"input_length": 5, "generated_tokens": 2})


def test_without_its_last_event_an_answer_is_truncated() -> None:
    assert read(sse(token("Blue"), token(" sky"))).end.reason == "truncated"


def test_an_answer_without_details_is_complete() -> None:
    found = read(sse(token("Blue"), token(" sky", generated_text="Blue sky")))

    assert (found.completion.text, found.end.reason) == ("Blue sky", "completed")
    assert found.completion.to_dict() == {"generated_text": "Blue sky"}


def test_a_prompt_repeated_in_the_full_text_is_not_emitted() -> None:
    found = read(sse(token(" sky"), token(".", generated_text="A secret prompt sky.")))

    assert found.completion.text == " sky."
    assert found.notices("conflict") == [{"channel": "content"}]


@pytest.mark.parametrize(
    "answer",
    [
        {"generated_text": "Hi"},
        {
            "generated_text": "Hi",
            "details": {"finish_reason": "length", "generated_tokens": 1, "seed": 4, "prefill": [], "tokens": []},
        },
        {
            "generated_text": "Hi",
            "details": {"finish_reason": "length", "generated_tokens": 1, "tokens": [token("Hi")["token"]]},
        },
    ],
    ids=["the least", "with details", "with tokens"],
)
@pytest.mark.parametrize("form", ["{}", "[{}]"])
def test_a_non_streaming_response_is_restored_exactly(answer: dict[str, Any], form: str) -> None:
    assert read(form.replace("{}", json.dumps(answer)).encode()).completion.to_dict() == answer


def test_an_error_ends_the_answer_after_the_events_before_it() -> None:
    found = read(sse(token("Blue"), {"error": "a secret prompt", "error_type": "overloaded"}))

    assert found.completion.text == "Blue"
    assert isinstance(found.error, sk.ProviderError)
    assert (found.error.type, found.error.detail) == ("overloaded", "a secret prompt")
    assert "secret" not in str(found.error)


def test_top_tokens_are_kept() -> None:
    top = [{"id": 1, "text": "Blue", "logprob": -0.5}, {"id": 2, "text": "Red", "logprob": -1.5}]

    found = read(sse(token("Blue", top_tokens=top), token("", generated_text="Blue")))

    assert (found.choice.logprobs or {})["top_tokens"] == [top]


def test_the_first_event_identifies_the_dialect() -> None:
    first = next(iter((sk.sse.Lines() | sk.Parse()).run([STREAMED])))

    assert for_event(first) is TextGenerationInference
