"""Request signing: encode the body first, so that the signature covers the bytes that are sent."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, cast

import anyio.to_thread

from streamkit.core.wrong_input import kind_of
from streamkit.errors import PipelineError
from streamkit.sources.redirects import RedirectedRequest
from streamkit.sources.request import RequestToSign, Sign, check_headers, json_problem, pairs_of


async def signed(request: RedirectedRequest, sign: Sign, dumps: Callable[[object], str]) -> RedirectedRequest:
    """Return the request with its body as bytes and the headers that `sign` returned.

    `sign` is called in a worker thread, because it may fetch credentials.
    """
    from yarl import URL

    options = dict(request.options)
    url = URL(request.url)
    if params := options.pop("params", None):
        url = url.extend_query(params)
    headers = {str(name): str(value) for name, value in pairs_of(options.get("headers"))}
    if options.get("json") is not None:
        body = _json(options.pop("json"), dumps)
        if not any(name.lower() == "content-type" for name in headers):
            headers["Content-Type"] = "application/json"
    else:
        body = _bytes(options.get("data"))
    options.pop("json", None)
    added = await anyio.to_thread.run_sync(
        partial(sign, RequestToSign(request.method, str(url), headers, body)), abandon_on_cancel=True
    )
    check_headers(added)
    replaced = {name.lower() for name in added}
    kept = {name: value for name, value in headers.items() if name.lower() not in replaced}
    return replace(request, url=url, options={**options, "headers": {**kept, **added}, "data": body or None})


def _json(value: object, dumps: Callable[[object], str]) -> bytes:
    try:
        return dumps(value).encode()
    except (TypeError, ValueError, RecursionError):
        raise PipelineError(json_problem(value, dumps) or "json: expected a value that can be encoded") from None


def _bytes(data: Any) -> bytes:
    match data:
        case None:
            return b""
        case str():
            return data.encode()
        case bytes() | bytearray() | memoryview():
            return bytes(cast("bytes", data))
        case _:
            raise PipelineError(f"data: expected bytes or text in a signed request, found {kind_of(data)}")
