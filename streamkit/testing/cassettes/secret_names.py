"""Names whose values are credentials: of headers, of a query's fields, of a form's and of JSON's."""

import re

from streamkit.sources.recording import is_secret

_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_FIELD = re.compile(
    r"(?:.*_)?(?:api_?keys?|(?:aws)?_?access_?key(?:_?id)?|access_id|private_?keys?|secret_?keys?|subscription_?key|(?:signing|ephemeral|encryption)_?key"
    r"|authorization|authentication|assertion|bearer|client_secret|cookies?|credentials?|csrf|hmac|jwt|pass_?phrase|passw(?:or)?ds?"
    r"|secrets?|token|xsrf)"
)
_IN_QUERY = frozenset({"sig", "sas", "code", "pass", "pwd"})


def is_secret_header(name: str) -> bool:
    """Whether a header of that name has a credential, or identifies the sender."""
    return is_secret(name) or is_secret_field(name)


def is_secret_parameter(name: str) -> bool:
    """Whether a field of that name in a query or in a form has a credential."""
    return is_secret_header(name) or name.lower() in _IN_QUERY


def is_secret_field(name: str) -> bool:
    """Whether a field of that name in JSON has a credential. A word such as `key` alone has other meanings there."""
    return _FIELD.fullmatch(_WORDS.sub("_", name).replace("-", "_").lower()) is not None
