"""The error tree: what is in it, what each error tells, and what none of them tells."""

import pickle
import re
from typing import get_args

import pytest

import streamkit as sk
from streamkit import errors
from streamkit.events import EndReason


def subclasses(kind: type[Exception]) -> list[type[Exception]]:
    return [kind, *(deeper for child in kind.__subclasses__() for deeper in subclasses(child))]


TREE = [kind for kind in subclasses(sk.StreamkitError) if kind.__module__ == errors.__name__]
every_error = pytest.mark.parametrize("kind", TREE, ids=lambda kind: kind.__name__)


def test_the_tree_is_the_one_that_is_drawn() -> None:
    drawn: dict[str, str] = {}
    parents: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if found := re.match(r"    ([│ ├└─]*)([A-Z]\w+)", line):
            depth = len(found[1]) // 4
            parents[depth:] = [found[2]]
            drawn[found[2]] = parents[depth - 1] if depth else "Exception"

    assert drawn == {kind.__name__: kind.__bases__[0].__name__ for kind in TREE}


@every_error
def test_every_error_is_a_public_name(kind: type[sk.StreamkitError]) -> None:
    assert getattr(sk.errors, kind.__name__) is kind
    assert kind.__name__ in sk.errors.__all__


@every_error
def test_every_error_says_how_a_stream_ends_that_meets_it(kind: type[sk.StreamkitError]) -> None:
    assert kind.end_reason in get_args(EndReason)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (sk.errors.ConnectFailed, "error"),
        (sk.StatusError, "error"),
        (sk.errors.Disconnected, "truncated"),
        (sk.errors.DeadlineExceeded, "timeout"),
        (sk.errors.StreamInterrupted, "cancelled"),
        (sk.errors.ProtocolError, "error"),
        (sk.errors.LimitExceeded, "limit"),
        (sk.ProviderError, "provider_error"),
        (sk.PipelineError, "error"),
    ],
)
def test_how_a_stream_ends(kind: type[sk.StreamkitError], reason: str) -> None:
    assert kind.end_reason == reason


@every_error
def test_every_error_can_be_made_of_a_message(kind: type[sk.StreamkitError]) -> None:
    error = kind("found this, expected that")

    assert str(error) == "found this, expected that"
    assert isinstance(error, sk.StreamkitError)


DETAILED: list[tuple[sk.StreamkitError, dict[str, object]]] = [
    (
        sk.StatusError("no", status=429, body=b"slow down", headers={"retry-after": "3"}),
        {"status": 429, "body": b"slow down", "headers": {"retry-after": "3"}, "retryable": True},
    ),
    (sk.StatusError("no"), {"status": 0, "body": b"", "headers": {}, "retryable": False}),
    (
        sk.errors.ContentTypeError("no", content_type="text/html", body=b"<html>"),
        {"content_type": "text/html", "body": b"<html>"},
    ),
    (sk.errors.DeadlineExceeded("late", deadline="idle", seconds=1.5), {"deadline": "idle", "seconds": 1.5}),
    (sk.errors.ProtocolError("odd", line=3, offset=20, excerpt="da"), {"line": 3, "offset": 20, "excerpt": "da"}),
    (sk.errors.ProtocolError("odd"), {"line": None, "offset": None, "excerpt": ""}),
    (sk.errors.LimitExceeded("long", line=1), {"line": 1, "offset": None}),
    (
        sk.ProviderError("no", code=529, type="overloaded_error", retryable=True, detail="busy", body={"a": 1}),
        {"code": 529, "type": "overloaded_error", "retryable": True, "detail": "busy", "body": {"a": 1}},
    ),
    (sk.ProviderError("no"), {"code": None, "type": None, "retryable": False, "detail": "", "body": None}),
]
every_detail = pytest.mark.parametrize(("error", "details"), DETAILED, ids=lambda value: type(value).__name__)


@every_detail
def test_an_errors_details_are_attributes(error: sk.StreamkitError, details: dict[str, object]) -> None:
    assert {name: getattr(error, name) for name in details} == details


@every_detail
def test_details_are_not_in_the_message(error: sk.StreamkitError, details: dict[str, object]) -> None:
    # They may hold a key, a prompt or text of the answer.
    assert str(error) in ("no", "odd", "long", "late")
    assert repr(error) == f"{type(error).__name__}({str(error)!r})"


@every_detail
def test_an_error_keeps_its_details_on_the_way_to_another_process(
    error: sk.StreamkitError, details: dict[str, object]
) -> None:
    copy = pickle.loads(pickle.dumps(error))

    assert (type(copy), str(copy)) == (type(error), str(error))
    assert {name: getattr(copy, name) for name in details} == details


@pytest.mark.parametrize(
    ("status", "retryable"),
    [
        (400, False),
        (401, False),
        (404, False),
        (408, True),
        (409, True),
        (422, False),
        (429, True),
        (500, True),
        (529, True),
    ],
)
def test_which_statuses_may_succeed_later(status: int, retryable: bool) -> None:
    assert sk.StatusError("no", status=status).retryable is retryable


SECRET = "sk-secret-0123456789"


@pytest.mark.parametrize(
    "body",
    [
        f"data: {SECRET}\n\n",
        f'data: {{"error":{{"message":"your key {SECRET} is wrong","code":"invalid_api_key"}}}}\n\n',
        f'data: {{"choices":[{{"delta":{{"content":"{SECRET}"}}}}]\n\n',
        f'{{"error": {{"message": "{SECRET}"}}}}',
    ],
    ids=["no JSON", "provider error", "broken JSON", "JSON body"],
)
def test_no_message_holds_what_came(body: str) -> None:
    with pytest.raises((sk.errors.ProtocolError, sk.ProviderError)) as caught:
        list((sk.Parse() | sk.Extract()).run(body.encode()))

    assert SECRET not in f"{caught.value!s} {caught.value!r} {caught.value.__notes__}"


def test_a_line_that_is_too_long_is_not_in_the_message() -> None:
    with pytest.raises(sk.errors.LimitExceeded) as caught:
        list(sk.sse.Lines(max_line_bytes=10).run(SECRET.encode()))

    assert SECRET[:4] not in f"{caught.value!s} {caught.value!r}"


def test_a_source_does_not_show_the_key_in_its_address() -> None:
    shown = repr(sk.http.post(f"https://user:{SECRET}@example.org:8080/v1/chat?key={SECRET}", headers={"k": SECRET}))

    assert shown == "<POST https://example.org:8080/v1/chat>"
