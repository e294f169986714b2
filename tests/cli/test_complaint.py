"""A command's error message: one line, and the provider's own reason only on request."""

from __future__ import annotations

import pytest

import streamkit as sk
from streamkit.cli.complaint import complaint

BODY = (
    b'{"error": {"message": "Wrong key sk-1\\r\\nfor \\u001b[2Jyou", "type": "invalid_request_error", "code": "Alice"}}'
)
ERRORS = [
    sk.StatusError("refused", status=401, body=BODY),
    sk.errors.ContentTypeError("refused", body=BODY),
    sk.ProviderError("refused", code="Alice", type="invalid_request_error", detail="Wrong key sk-1\r\nfor \x1b[2Jyou"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_the_provider_s_reason_is_shown_when_it_is_wanted(error: sk.StreamkitError) -> None:
    assert complaint(error) == "refused; --verbose shows the provider's own reason"
    assert complaint(error, verbose=True).split("\n") == [
        "refused",
        "  code: Alice",
        "  type: invalid_request_error",
        "  detail: Wrong key sk-1",
        "  for \ufffd[2Jyou",
    ]


@pytest.mark.parametrize(
    "error", [sk.StatusError("refused", status=401), sk.errors.Disconnected("refused"), OSError("refused")]
)
def test_where_there_is_no_reason_nothing_is_said_of_it(error: Exception) -> None:
    assert complaint(error) == complaint(error, verbose=True) == "refused"
