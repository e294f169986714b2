"""Hashes of request keys, which are equal for equal requests."""

import hashlib

import msgspec

from streamkit.core.wrong_input import kind_of
from streamkit.errors import PipelineError


def digest(key: object) -> str:
    """Return the SHA-256 of a key's JSON form in hexadecimal, which does not reveal the prompt.

    The order of fields and of set members does not matter. Raises `PipelineError` for a key that can't be encoded as JSON.
    """
    try:
        form = msgspec.json.encode(key, order="deterministic")
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise PipelineError(f"expected a key of JSON-compatible data, found {kind_of(key)}") from error
    return hashlib.sha256(form).hexdigest()


def check_functions(**functions: object) -> None:
    """Raise `PipelineError` for what can't be called."""
    for name, function in functions.items():
        if not callable(function):
            raise PipelineError(f"{name}: expected a function, found {kind_of(function)}")
