"""Classifiers behind HTTP: OpenAI's moderation endpoint, and any other that takes and returns JSON.

    async with openai_moderation(key=key, thresholds={"violence": 0.3}) as classifier:
        ... | Classify(classifier) ...

aiohttp is imported when the first request is made.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

import msgspec

from streamkit.core.stage import Stage
from streamkit.errors import LimitExceeded, PipelineError, ProtocolError
from streamkit.moderation.classifiers.chunking import Window
from streamkit.moderation.classifiers.classifier import Decision, DecisionAction, verdict_of
from streamkit.sources import http
from streamkit.sources.http import Deadlines
from streamkit.sources.retry import Retry

if TYPE_CHECKING:
    import aiohttp

OPENAI = "https://api.openai.com/v1"
DEADLINES = Deadlines(connect=3.0, first_byte=10.0, idle_bytes=10.0, total=20.0)
"""For one check. All but `total` are for each attempt."""
RETRY = Retry(attempts=3, budget=5.0, first=0.25, longest=2.0)
ANSWER_BYTES = 1024 * 1024
"""How long an answer may be."""


def openai_moderation(
    base_url: str = OPENAI,
    *,
    key: str | None = None,
    model: str = "omni-moderation-latest",
    thresholds: Mapping[str, float] | None = None,
    actions: DecisionAction | Mapping[str, DecisionAction] = "block",
    headers: Mapping[str, str] | None = None,
    session: "aiohttp.ClientSession | None" = None,
    deadlines: Deadlines = DEADLINES,
    retry: Retry | None = RETRY,
) -> "Remote":
    """Call `POST /moderations` of OpenAI, or of a server with the same API at `base_url`.

    `key` is sent as a bearer token, and `model` with each request.

    `thresholds` are scores by category; `"*"` is for all others, and without it the endpoint's own flags decide on those.
    `actions` are by category, again with `"*"`; one that is not named blocks. All other
    options are those of `http_classifier`. (https://platform.openai.com/docs/api-reference/moderations)
    """

    def request(window: Window) -> object:
        return {"model": model, "input": window.context + window.text}

    def verdict(answer: object) -> Decision:
        (result,) = msgspec.convert(answer, _Moderation).results
        # A category that does not apply may be null.
        scores = {name: score for name, score in result.category_scores.items() if score is not None}
        flags = {name: bool(flag) for name, flag in result.categories.items()}
        if result.flagged and not any(flags.values()):
            # A server may flag without a category.
            flags["flagged"], scores["flagged"] = True, 1.0
        return verdict_of(scores, thresholds=thresholds or {}, flags=flags, actions=actions)

    if key is not None and not isinstance(cast(object, key), str):
        raise PipelineError(f"key: expected a str, found {type(key).__name__}")
    authorized = {"authorization": f"Bearer {key}", **(headers or {})} if key else headers
    url = f"{base_url.rstrip('/')}/moderations"
    return Remote(url, request, verdict, authorized or {}, session, deadlines, retry)


def http_classifier(
    url: str,
    *,
    request: Callable[[Window], object],
    verdict: Callable[[Any], Decision],
    headers: Mapping[str, str] | None = None,
    session: "aiohttp.ClientSession | None" = None,
    deadlines: Deadlines = DEADLINES,
    retry: Retry | None = RETRY,
) -> "Remote":
    """POST to `url` what `request` makes of a window, as JSON, and let `verdict` read the JSON that is answered.

    Whatever `verdict` raises means an answer that can't be read. `session`: lent, it stays open. Without one each check makes
    a connection of its own, unless the classifier is used with `async with`, which keeps a session for its block. `headers`
    and `deadlines` are those of `http.post`, for each request. `retry` tries again within one check, and waits as long as a
    `Retry-After` says if its budget allows.
    """
    return Remote(url, request, verdict, headers or {}, session, deadlines, retry)


class Remote:
    """A classifier behind HTTP. Created by `openai_moderation` and `http_classifier`; any number of streams may share it.

    Neither its representation nor an error that it raises holds a key or text.
    """

    def __init__(
        self,
        url: str,
        request: Callable[[Window], object],
        verdict: Callable[[Any], Decision],
        headers: Mapping[str, str],
        session: "aiohttp.ClientSession | None",
        deadlines: Deadlines,
        retry: Retry | None,
    ) -> None:
        http.post(url, headers=headers)  # what can't be sent is refused now, not at the first check
        self._url = url
        self._request = request
        self._verdict = verdict
        self._headers = dict(headers)
        self._session = session
        self._owned: aiohttp.ClientSession | None = None
        self._deadlines = deadlines
        self._retry = retry

    def __repr__(self) -> str:
        return f"<classifier {http.post(self._url).url}>"

    async def __aenter__(self) -> "Remote":
        if self._session is None and self._owned is None:
            import aiohttp

            self._owned = aiohttp.ClientSession()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        owned, self._owned = self._owned, None
        if owned is not None:
            await owned.close()

    async def __call__(self, window: Window, /) -> Decision:
        answer = await self._call(self._request(window))
        try:
            return self._verdict(answer)
        # It is written for answers as they should be, and this is none. Its message may quote the answer.
        except Exception as error:
            raise ProtocolError(
                f"{self!r}: expected a decision, found an answer that raises {type(error).__name__}"
            ) from None

    async def _call(self, question: object) -> object:
        source = http.post(
            self._url,
            json=question,
            headers=self._headers,
            session=self._session or self._owned,
            deadlines=self._deadlines,
            retry=self._retry,
        )
        # As a stream it is retried until it is whole.
        async with source | _WholeResponse() as stream:
            body = b"".join([piece async for piece in stream if isinstance(piece, bytes)])
        try:
            return msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise ProtocolError(f"{self!r}: expected JSON, found something else") from None


@dataclass
class _WholeResponse(Stage[bytes, bytes]):
    """The body in one piece."""

    _body: bytearray = field(default_factory=bytearray, init=False, repr=False)

    def feed(self, item: bytes) -> Iterable[bytes]:
        self._body += item
        if len(self._body) > ANSWER_BYTES:
            raise LimitExceeded(f"expected an answer of at most {ANSWER_BYTES} bytes, found more")
        return ()

    def flush(self) -> Iterable[bytes]:
        yield bytes(self._body)


class _CategoryResult(msgspec.Struct):
    flagged: bool
    categories: dict[str, bool | None] = {}
    category_scores: dict[str, float | None] = {}


class _Moderation(msgspec.Struct):
    results: list[_CategoryResult]
