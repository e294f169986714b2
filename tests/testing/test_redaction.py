"""Credentials that a cassette recognizes and replaces, and values that it keeps."""

from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit.testing.cassettes.redaction import Redaction

W = "correct-horse-42"  # a secret that only its place gives away
R = "[redacted]"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJl"

BODIES: dict[str, tuple[Any, Any]] = {
    "an object": (
        {"credentials": {"user": "ann", "parts": [W], "n": 1}},
        {"credentials": {"user": R, "parts": [R], "n": 1}},
    ),
    "a list": ({"passwords": [W, W]}, {"passwords": [R, R]}),
    "headers": (
        {"extra_headers": {"Cookie": W, "X-Goog-Api-Key": W, "Accept": "a/b"}},
        {"extra_headers": {"Cookie": R, "X-Goog-Api-Key": R, "Accept": "a/b"}},
    ),
    "a header as a pair": ([{"name": "Authorization", "value": W}], [{"name": "Authorization", "value": R}]),
    "its value elsewhere": (
        {"api_key": W, "prompt": f"mine is {W}", W: 1},
        {"api_key": R, "prompt": f"mine is {R}", R: 1},
    ),
    "JSON in a string": (
        {"arguments": '{"api_key": "' + W + '", "city": "Paris"}'},
        {"arguments": '{"api_key": "' + R + '", "city": "Paris"}'},
    ),
    "a schema": (
        {
            "properties": {"password": {"type": ["string", "null"]}, "token": {"$ref": "#/$defs/t"}},
            "required": ["token"],
        },
        {
            "properties": {"password": {"type": ["string", "null"]}, "token": {"$ref": "#/$defs/t"}},
            "required": ["token"],
        },
    ),
    "other words": (
        {"max_tokens": 5, "key": "value", "tokens": ["a"], "tokenizer": "t", "author": "Ann", "top_logprobs": 2},
        {"max_tokens": 5, "key": "value", "tokens": ["a"], "tokenizer": "t", "author": "Ann", "top_logprobs": 2},
    ),
}


@pytest.mark.parametrize(("body", "stored"), BODIES.values(), ids=BODIES)
def test_fields_of_json(body: Any, stored: Any) -> None:
    assert Redaction().body(body) == stored


TEXTS = {
    "the user of an address": (f"see https://bob:{W}@a.example/x or", f"see https://{R}@a.example/x or"),
    "the user of a database": (f"postgres://u:{W}@db/x", f"postgres://{R}@db/x"),
    "the query of an address": (f"at wss://a.example/?key={W}&n=1 now", f"at wss://a.example/?key={R}&n=1 now"),
    "a fragment": (f"https://a.example/#access_token={W}", f"https://a.example/#access_token={R}"),
    "an escaped address": (rf"https:\/\/u:{W}@a.example\/?n=1\u0026sig={W}", rf"https:\/\/{R}@a.example\/?n=1\u0026sig={R}"),
    "a form": (f"api_key={W}&n=1", f"api_key={R}&n=1"),
    "lines of JSON": (f'{{"api_key": "{W}"}}\n{{"n": 1}}\n', f'{{"api_key": "{R}"}}\n{{"n": 1}}\n'),
    "JSON that is cut": (f'{{"client_secret": {{"value": "{W}", "n', f'{{"client_secret": {{"value": "{R}", "n'),
    "the shape of a key": ("use sk-ant-api03-AAAAAAAAAAAAAAAAAAAAAAAA.", f"use {R}."),
    "a web token": (f"it is {JWT}.", f"it is {R}."),
    "prose": ("The password: key=a, token b, ann@b.example", "The password: key=a, token b, ann@b.example"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "stored"), TEXTS.values(), ids=TEXTS)
def test_text(text: str, stored: str) -> None:
    assert Redaction().text(text) == stored


ANSWERS = {
    "a secret of a session": ('{"client_secret":{"value":"abc","at":1}}', '{"client_secret":{"value":"***","at":1}}'),
    "a list": ('{"secrets":["a","b"],"x":["c"]}', '{"secrets":["*","*"],"x":["c"]}'),
    "an ephemeral key": ('{"value":"ek_68af296e8e408191a1120ab6"}', '{"value":"***************************"}'),
    "a signed address": ('{"url":"https://b.example/x?sig=a1b2c3d4e5f6a7b8c9"}', '{"url":"https://b.example/x?sig=******************"}'),
    "the user of an address": ('{"url":"ftp://me:pass@x.example/"}', '{"url":"ftp://*******@x.example/"}'),
    "a long token": ('{"token":"a1b2c3d4e5f6a7b8c9"}', '{"token":"******************"}'),
    "a field of one's own": ('{"patient":"Alice"}', '{"patient":"*****"}'),
    "a token of its text": ('{"token":" horse","logprob":-1}', '{"token":" horse","logprob":-1}'),
    "a placeholder": ('{"text":"curl https://a.example?key=YOUR_KEY"}', '{"text":"curl https://a.example?key=YOUR_KEY"}'),
    "JSON of a model": (r'{"content":"{\"password\": \"unknown\"}"}', r'{"content":"{\"password\": \"unknown\"}"}'),
    "a tool's schema": (
        '{"tools":[{"properties":{"password":{"type":"string"}}}]}',
        '{"tools":[{"properties":{"password":{"type":"string"}}}]}',
    ),
}  # fmt: skip


@pytest.mark.parametrize(("answer", "stored"), ANSWERS.values(), ids=ANSWERS)
def test_answers(answer: str, stored: str) -> None:
    assert Redaction(["patient"]).pieces([answer.encode()]) == [stored.encode()]


@pytest.mark.parametrize("opening", ['"secret":["a",', '"secret":{"b":"a","c":', '"secret":{"type":"string","c":'])
def test_what_is_never_closed_is_read_once(opening: str) -> None:
    # Each is not read to the end again.
    (hidden,) = Redaction().pieces([opening.encode() * 3_000])

    assert len(hidden) == len(opening) * 3_000
    assert hidden[: len(opening)].count(b"*") == (0 if "type" in opening else 1)


def test_a_file_in_base64_stays() -> None:
    picture = "data:image/png;base64," + "AKIA0123456789ABCDEF" * 60

    assert Redaction().body({"url": picture}) == {"url": picture}


@given(
    st.lists(
        st.sampled_from(
            [
                b'"api_',
                b'key":"',
                b"corr",
                b"ect-horse-42",
                b'"',
                b"\xff",
                "가".encode(),
                b"\\",
                b"{",
                b"https://u:",
                b"p@h",
            ]
        )
    )
)
def test_pieces_keep_their_lengths_and_are_cut_nowhere_else(pieces: list[bytes]) -> None:
    hidden = Redaction().pieces(pieces)

    assert [len(piece) for piece in hidden] == [len(piece) for piece in pieces]
    assert b"".join(hidden) == b"".join(Redaction().pieces([b"".join(pieces)]))


@pytest.mark.parametrize("value", ["a/b+c=d e%f", "schlüssel-42", 'with "quotes"'])
def test_a_value_is_found_however_it_is_written(value: str) -> None:
    redaction = Redaction()
    redaction.learn({}, [("key", value)])
    url, escaped = f"https://a.example/?q={quote(value, safe='')}", value.replace("/", "\\/")

    assert redaction.text(f"{value} {url} {escaped}") == f"{R} https://a.example/?q={R} {R}"
    (answer,) = redaction.pieces([f"{value} {url}".encode()])
    assert not set(answer.decode()) & set('%+üd"')
