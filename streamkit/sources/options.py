"""Request options of other HTTP clients, mapped to this library's equivalents for error messages.

The names are those of requests (https://requests.readthedocs.io/en/latest/api/), httpx (https://www.python-httpx.org/api/) and
the openai package (https://github.com/openai/openai-python). Any other option goes to `aiohttp.ClientSession.request`.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, cast
from urllib.parse import urlsplit

from streamkit.core.wrong_input import attribute, kind_of
from streamkit.errors import PipelineError

_DEADLINES = "deadlines=streamkit.http.Deadlines(…)"
_KEY = "headers={'authorization': f'Bearer {key}'} (or the provider's own header)"
_FIELD = "it as a field of json={…}"
_RETRY = "retry=streamkit.sources.retry.Retry(…)"
_FIELDS = (
    "stream", "model", "messages", "prompt", "input", "instructions", "contents", "system", "tools", "tool_choice",
    "temperature", "top_p", "max_tokens", "max_completion_tokens", "max_output_tokens", "n", "stop", "seed", "stream_options",
    "response_format", "reasoning_effort",
)  # fmt: skip
_INSTEAD: dict[str, str] = {
    **dict.fromkeys(("timeout", "timeouts", "read_timeout", "connect_timeout", "total_timeout"), _DEADLINES),
    **dict.fromkeys(("api_key", "apikey", "key", "token", "bearer", "access_token", "auth_token"), _KEY),
    **dict.fromkeys(_FIELDS, _FIELD),
    **dict.fromkeys(("body", "payload", "content", "request", "extra_body"), "json={…}, or data=b'…' for bytes"),
    **dict.fromkeys(("header", "extra_headers", "default_headers"), "headers={…}"),
    **dict.fromkeys(("organization", "project"), "headers={'openai-organization': …} or {'openai-project': …}"),
    **dict.fromkeys(("query", "extra_query", "default_query", "param"), "params={…}"),
    **dict.fromkeys(("verify", "cert", "ca_bundle", "ssl_verify"), "ssl=False or ssl=ssl.SSLContext(…)"),
    "proxies": "proxy='http://…'",
    **dict.fromkeys(
        ("follow_redirects", "allow_redirects", "max_redirects"), "redirects='never', 'same-origin' or 'any'"
    ),
    **dict.fromkeys(("max_retries", "retries", "backoff"), _RETRY),
    "files": "data=aiohttp.FormData(…)",
    **dict.fromkeys(("client", "http_client", "async_client"), "session=aiohttp.ClientSession(…)"),
    **dict.fromkeys(("base_url", "address", "endpoint"), "the whole address as the first argument"),
    **dict.fromkeys(
        ("aws_access_key", "aws_secret_key", "aws_session_token", "aws_region", "aws_profile"),
        "sign=streamkit.sources.aws.SigV4(…)",
    ),
    "method": "streamkit.http.get(…) or streamkit.http.post(…)",
}
_OWN = ("json", "headers", "session", "deadlines", "retry", "redirects", "sign")
# (https://docs.aiohttp.org/en/stable/client_reference.html#aiohttp.ClientSession.request)
_AIOHTTP = (
    "params", "data", "cookies", "skip_auto_headers", "auth", "compress", "chunked", "expect100", "raise_for_status",
    "read_until_eof", "proxy", "proxy_auth", "proxy_headers", "ssl", "server_hostname", "trace_request_ctx", "read_bufsize",
    "auto_decompress", "max_line_size", "max_field_size", "max_headers", "middlewares", "upload_tracker", "verify_ssl",
    "fingerprint", "ssl_context",
)  # fmt: skip


def check_options(
    options: Mapping[str, Any], *, session: object, deadlines: object, retry: object, sign: object = None
) -> None:
    """Raise `PipelineError` for an option of another client, a misspelled option, or a value of the wrong class."""
    for name in options:
        if name in _INSTEAD:
            raise PipelineError(f"{name}: expected {_INSTEAD[name]} instead")
        if name not in _AIOHTTP + _OWN and (close := get_close_matches(name, _AIOHTTP + _OWN, 1, 0.75)):
            raise PipelineError(f"{name}: expected an option that there is; did you mean {close[0]}?")
    _check_data(options.get("data"))
    if sign is not None and not callable(sign):
        raise PipelineError(f"sign: expected a function such as streamkit.sources.aws.SigV4(…), found {kind_of(sign)}")
    if isinstance(options.get("auth"), tuple | str):
        raise PipelineError(f"auth: expected {_KEY} instead, found {kind_of(options['auth'])}")
    if deadlines is not None and not hasattr(deadlines, "first_content"):
        raise PipelineError(f"deadlines: expected streamkit.http.Deadlines(…), found {kind_of(deadlines)}")
    if retry is not None and not callable(attribute(retry, "wait")):
        raise PipelineError(f"retry: expected {_RETRY.partition('=')[2]}, found {kind_of(retry)}")
    # Not `request`: httpx's client has it too.
    if session is not None and not hasattr(session, "connector"):
        raise PipelineError(f"session: expected aiohttp.ClientSession(…), found {kind_of(session)}")


def scheme_problem(url: str) -> str | None:
    """Describe the problem with a URL's scheme; `None` if it is `http` or `https`."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None  # aiohttp raises for an invalid URL
    if parts.scheme.lower() in ("http", "https"):
        return None
    # `localhost:8000/v1` parses as the scheme `localhost`.
    return "found another scheme" if "://" in url else "found none: does it lack https:// at the beginning?"


def _check_data(data: object) -> None:
    values = cast("Mapping[object, object]", data).values() if isinstance(data, Mapping) else ()
    if any(value is None or isinstance(value, dict | list | bool) for value in values):
        raise PipelineError("data: expected bytes, text or a form, found data for JSON: write json={…}")
