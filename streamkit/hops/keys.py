"""One name for equal requests."""

import hashlib

import msgspec

from streamkit.core.wrong_input import kind_of
from streamkit.errors import PipelineError


def digest(key: object) -> str:
    """The SHA-256 of a key's JSON form, as hexadecimal digits: nothing of a prompt can be read from it.

    The order of fields and members of sets makes no difference. `PipelineError` for a key without a JSON form.
    """
    try:
        form = msgspec.json.encode(key, order="deterministic")
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise PipelineError(f"expected a key of JSON-compatible data, found {kind_of(key)}") from error
    return hashlib.sha256(form).hexdigest()
