"""A provider's own count of a prompt, asked for over HTTP before the prompt is sent."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import msgspec

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
    """Ask a provider's counting endpoint at `url` what a prompt costs; `json` is the request that it wants.

    `headers`, `session` and `deadlines` are those of `http.post`; without deadlines it takes 30 seconds at most.

    Read are Anthropic's `POST /v1/messages/count_tokens` and OpenAI's `POST /v1/responses/input_tokens` (`input_tokens`), and
    Gemini's `models/…:countTokens` (`totalTokens`). The result says `exact=False`: Anthropic calls its own an estimate.
    (https://docs.claude.com/en/docs/build-with-claude/token-counting) Raises what `http.post` raises, and `ProtocolError`
    for an answer without a count.
    """
    source = post(url, json=json, headers=headers, session=session, deadlines=deadlines or Deadlines(total=30.0))
    body = bytearray()
    try:
        await source.open()
        while len(body) <= _LONGEST and (pieces := await source.read()):
            body += b"".join(pieces)
    finally:
        await source.close()
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
