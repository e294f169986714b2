"""Prompt token counts from a provider's counting endpoint."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import msgspec

from streamkit.core.stream import Stream
from streamkit.errors import ProtocolError
from streamkit.sources.http import Deadlines, post
from streamkit.tokens.prompts import PromptTokens

if TYPE_CHECKING:
    import aiohttp

_NAMES = ("input_tokens", "totalTokens")
_LONGEST = 64 * 1024


async def count_prompt(
    url: str,
    *,
    json: object,
    headers: Mapping[str, str] | None = None,
    session: "aiohttp.ClientSession | None" = None,
    deadlines: Deadlines | None = None,
) -> PromptTokens:
    """Return the number of tokens of a prompt, as counted by the provider's endpoint at `url`; `json` is its request body.

    `headers`, `session` and `deadlines` are those of `http.post`; the default is `Deadlines(total=30.0)`.

    Supported endpoints: Anthropic's `POST /v1/messages/count_tokens` and OpenAI's `POST /v1/responses/input_tokens`
    (`input_tokens`), and Gemini's `models/…:countTokens` (`totalTokens`). The result has `exact=False`, because Anthropic
    calls its count an estimate. (https://docs.claude.com/en/docs/build-with-claude/token-counting) Raises the errors of
    `http.post`, and `ProtocolError` for a response without a count.
    """
    source = post(url, json=json, headers=headers, session=session, deadlines=deadlines or Deadlines(total=30.0))
    body = bytearray()
    # The stream enforces the deadlines and the retries, which a source alone does not.
    async with Stream[bytes](source, ()) as pieces:
        async for piece in pieces:
            body += cast("bytes", piece)
            if len(body) > _LONGEST:
                break
    tokens = _read(bytes(body))
    return PromptTokens(tokens, False, tokens)


def _read(body: bytes) -> int:
    try:
        answer: Any = msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        raise ProtocolError(f"expected a count of tokens as JSON, found {len(body)} bytes of something else") from error
    fields: Mapping[str, object] = cast(Mapping[str, object], answer) if isinstance(answer, Mapping) else {}
    for name in _NAMES:
        if type(tokens := fields.get(name)) is int:
            return tokens
    raise ProtocolError(f"expected a count of tokens in {' or '.join(_NAMES)}, found neither")
