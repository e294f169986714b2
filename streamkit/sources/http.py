"""An HTTP response as a source, on aiohttp.

    async with streamkit.http.post(url, json=body, headers=headers) | pipeline as events: ...

aiohttp is imported when the first source is opened.
"""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from http.cookies import CookieError
from typing import TYPE_CHECKING, Any, get_args

import anyio

from streamkit.core.source import Deadlines as Deadlines
from streamkit.core.source import Source
from streamkit.errors import (
    ConnectFailed,
    DeadlineExceeded,
    Disconnected,
    PipelineError,
    RedirectError,
    SourceError,
    StatusError,
)
from streamkit.errors.bodies import known, reason_of
from streamkit.sources import redirects as redirecting
from streamkit.sources.content_type import HEAD_BYTES, Sniffer, is_readable, of_headers, unreadable
from streamkit.sources.options import check_options, scheme_problem
from streamkit.sources.redirects import MAX_REDIRECTS, Redirect, RedirectedRequest, Redirects
from streamkit.sources.request import (
    Sign,
    address,
    check_asyncio,
    check_headers,
    check_method,
    check_url,
    json_problem,
    sendable_again,
)
from streamkit.sources.retry import Retry
from streamkit.sources.signing import signed
from streamkit.sources.system_errors import system_error, system_reason

if TYPE_CHECKING:
    import aiohttp

HEAD_SECONDS = 2.0
"""Maximum time to read the head of the body for an error."""
DRAIN_BYTES = 64 * 1024


def post(
    url: str,
    *,
    json: object = None,
    headers: Mapping[str, str] | None = None,
    session: "aiohttp.ClientSession | None" = None,
    deadlines: Deadlines | None = None,
    retry: Retry | None = None,
    redirects: Redirects = "same-origin",
    sign: Sign | None = None,
    check_content_type: bool = True,
    **options: Any,
) -> "Http":
    """POST to `url` and stream the response body. Nothing is sent before the stream is opened.

    `json` is the body; `headers` are sent unchanged. `deadlines` are in seconds; the default is 10 s for the connection and no
    other limit. `session`: a given session stays open, and its connection is reused if the response ended properly; without
    one, the source creates and closes its own. `retry`: retry until the first item is released; by default there is one
    attempt, and always with a `data` that can be read only once. Further options (`data`, `proxy`, `ssl`, `params`, …) go to
    `aiohttp.ClientSession.request`.

    `redirects`: by default, a redirect within the origin (scheme, host and port) is followed with the whole request. A redirect
    to another origin, or one that turns POST into GET and would lose the body (301, 302, 303), raises `RedirectError`. `"any"`
    follows these too, but never sends the body, credentials, cookies or the caller's headers to another origin, except harmless
    headers such as `Accept`; a redirect that requires the body there (307, 308) still raises. `"never"` follows none.

    `sign`: called in a worker thread before each attempt with the request as it will be sent; the headers that it returns are
    added, such as those of `streamkit.sources.aws.SigV4`. The body must then be `json`, bytes or text. `sign` is not called for
    a redirect to another origin.

    A status of 300 or more raises `StatusError` with the head of the body. A broken connection raises `Disconnected`. A content
    type that is neither an event stream nor JSON raises `ContentTypeError`; a missing or general one (`text/plain`) is
    accepted. `check_content_type=False` accepts any content type, for servers that send a wrong one.
    """
    options = {"json": json, "headers": headers, **options}
    return Http(
        "POST", url, options, session, deadlines, retry, redirects, sign=sign, check_content_type=check_content_type
    )


def get(
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    session: "aiohttp.ClientSession | None" = None,
    deadlines: Deadlines | None = None,
    retry: Retry | None = None,
    redirects: Redirects = "same-origin",
    sign: Sign | None = None,
    check_content_type: bool = True,
    **options: Any,
) -> "Http":
    """GET `url` and stream the response body. The options are those of `post`."""
    options = {"headers": headers, **options}
    return Http(
        "GET", url, options, session, deadlines, retry, redirects, sign=sign, check_content_type=check_content_type
    )


class Http(Source[bytes]):
    """One request and its response body. Created by `post` and `get`."""

    def __init__(
        self,
        method: str,
        url: str,
        options: dict[str, Any],
        session: "aiohttp.ClientSession | None",
        deadlines: Deadlines | None,
        retry: Retry | None,
        redirects: Redirects = "same-origin",
        *,
        sign: Sign | None = None,
        check_content_type: bool = True,
    ) -> None:
        check_method(method)
        check_url(url)
        check_options(options, session=session, deadlines=deadlines, retry=retry, sign=sign)
        check_headers(options.get("headers"))
        if options.get("json") is not None and options.get("data") is not None:
            raise PipelineError("expected json or data, found both")
        if redirects not in get_args(Redirects):
            raise PipelineError(f"redirects: expected 'never', 'same-origin' or 'any', found {redirects!r}")
        self.method = method.upper()
        self.attempts: list[str] = []
        """The class name of the error of each failed attempt."""
        self.deadlines = self._deadlines = deadlines or Deadlines()
        self._url = url
        self._options = options
        self._caller_session = session
        self._owned: aiohttp.ClientSession | None = None
        self._response: aiohttp.ClientResponse | None = None
        self._retry = retry
        self._redirects: Redirects = redirects
        self._sign = sign
        self._checks_type = check_content_type
        self._sniffer = Sniffer("", "")
        self._spent = 0.0  # seconds waited between attempts
        self._ends_at: float | None = None
        self._broken: Exception | None = None

    def __repr__(self) -> str:
        return f"<{self.method} {self.url}>"

    @property
    def url(self) -> str:
        """The URL without its query and user part, which may contain a key."""
        return address(self._url)

    @property
    def status(self) -> int | None:
        """The status of the response; `None` before it arrives."""
        return self._response.status if self._response else None

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of the response; empty before they arrive."""
        return self._response.headers if self._response else {}

    async def open(self) -> None:
        import aiohttp

        if problem := scheme_problem(self._url):
            raise ConnectFailed(f"{self!r}: expected http://host/path or https://…, {problem}")
        check_asyncio(self)
        session = self._caller_session or self._owned
        if session is None:
            session = self._owned = aiohttp.ClientSession()
        if session.closed:
            raise PipelineError(f"{self!r}: expected an open session, found one that is closed")
        if self._ends_at is None and self._deadlines.total is not None:
            self._ends_at = self.now() + self._deadlines.total
        with self._mapped(), self._within("first_byte", self._deadlines.first_byte):
            response = await self._ask(session)
        await self._check(response)

    async def read(self) -> Sequence[bytes]:
        if self._broken is not None:
            raise self._broken
        assert self._response is not None, "read before open"
        try:
            # `readany` returns the available data; aiohttp's own line reading fails for lines above its limit.
            piece = await self._response.content.readany()
        except Exception as error:
            with self._mapped():
                piece = self._left_over(error)
        self._sniffer.look(piece)
        return [piece] if piece else []

    def _left_over(self, error: Exception) -> bytes:
        # aiohttp raises although its buffer still has data received before the error, which law 1 requires to deliver. Once the
        # reader has an error, all public methods raise; only this private one returns the rest of the buffer.
        read: Any = getattr(self._response and self._response.content, "_read_nowait", None)
        if not read or not (piece := bytes(read(-1))):
            raise error
        try:
            with self._mapped():
                raise error
        except Exception as mapped:
            self._broken = mapped
        return piece

    async def again(self, error: Exception) -> bool:
        self.attempts.append(type(error).__name__)
        wait = self._retry.wait(len(self.attempts), error) if self._retry else None
        if self._retry is None or wait is None or self._spent + wait > self._retry.budget:
            return False
        if not sendable_again(self._options.get("data")):
            return False
        if self._ends_at is not None and self.now() + wait >= self._ends_at:
            return False
        self._drop_response()
        self._spent += wait
        await anyio.sleep(wait)
        return True

    @property
    def undrained(self) -> bool:
        # A caller's session can reuse the connection only if the body was read to its end. Usually it already was.
        return self._caller_session is not None and self._response is not None and not self._response.content.at_eof()

    async def drain(self) -> None:
        if self._response is None or self._caller_session is None:
            return
        size = 0
        with self._mapped():
            while size < DRAIN_BYTES and (piece := await self._response.content.readany()):
                size += len(piece)

    async def close(self) -> None:
        owned, self._owned = self._owned, None
        self._drop_response()
        if owned is not None:
            await owned.close()

    def _drop_response(self) -> None:
        response, self._response, self._broken = self._response, None, None
        if response is not None:
            # Returns the connection to the pool if the body was read to its end; otherwise closes it.
            response.release()

    async def _ask(self, session: "aiohttp.ClientSession") -> "aiohttp.ClientResponse":
        request = RedirectedRequest(self.method, self._url, self._options)
        for followed in range(MAX_REDIRECTS + 1):
            # Stored immediately, so that `close` releases it after a cancellation.
            self._response = response = await self._send(session, request)
            if response.status not in redirecting.STATUSES:
                return response
            redirect = Redirect(repr(self), response.status, response.url, response.headers)
            try:
                if followed == MAX_REDIRECTS:
                    raise redirecting.refused(redirect, f"after {followed} others")
                request = redirecting.follow(request, redirect, self._redirects)
            except RedirectError as error:
                error.body = await self._head(response)
                raise
            response.release()
        raise AssertionError("the last round returns or raises")

    async def _send(self, session: "aiohttp.ClientSession", request: RedirectedRequest) -> "aiohttp.ClientResponse":
        import aiohttp

        if not request.foreign:
            return await self._request(session, request)
        # The caller's session would add its own headers, cookies and credentials, so only its connector is used.
        clean = aiohttp.ClientSession(
            connector=session.connector,
            connector_owner=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=session.trust_env,
        )
        try:
            return await self._request(clean, request)
        finally:
            clean.detach()

    async def _request(self, session: "aiohttp.ClientSession", request: RedirectedRequest) -> "aiohttp.ClientResponse":
        import aiohttp

        if self._sign is not None and not request.foreign:
            request = await signed(request, self._sign, session.json_serialize)
        timeout = aiohttp.ClientTimeout(total=None, connect=self._deadlines.connect)
        fixed: dict[str, Any] = {"timeout": timeout, "allow_redirects": False, "raise_for_status": False}
        try:
            return await session.request(request.method, request.url, **fixed, **request.options)
        except aiohttp.ClientError:
            raise
        # The messages of these errors may quote parts of the request.
        except (ValueError, TypeError, AttributeError, LookupError, CookieError, RecursionError) as error:
            problem = json_problem(request.options.get("json"), session.json_serialize) or (
                f"{type(error).__name__}; expected a host name, credentials in Latin-1, not both a user part in the address "
                "and an authorization header, and options that aiohttp.ClientSession.request knows"
            )
            raise PipelineError(f"{self!r}: this request can't be sent: {problem}") from None

    async def _check(self, response: "aiohttp.ClientResponse") -> None:
        if response.status >= 300:
            body = await self._head(response)
            code, kind, _ = reason_of(body)
            reason = f" ({words})" if (words := known(code, kind)) else ""
            raise StatusError(
                f"{self!r}: expected a success, found status {response.status}{reason}",
                status=response.status,
                body=body,
                headers={name.lower(): value for name, value in response.headers.items()},
            )
        found = of_headers(response.headers) if self._checks_type else ""
        self._sniffer = Sniffer(found, repr(self))
        if not is_readable(found):
            raise unreadable(repr(self), found, await self._head(response))

    async def _head(self, response: "aiohttp.ClientResponse") -> bytes:
        # As much as arrives: a body that breaks off or never ends must not hide the error that it belongs to.
        head = b""
        try:
            with self._mapped(), anyio.move_on_after(self._deadlines.idle_bytes or HEAD_SECONDS):
                while len(head) < HEAD_BYTES and (piece := await response.content.readany()):
                    head += piece
        except Disconnected:
            pass
        return head[:HEAD_BYTES]

    @contextmanager
    def _within(self, deadline: str, seconds: float | None) -> Generator[None, None, None]:
        with anyio.move_on_after(seconds) as scope:
            yield
        if scope.cancelled_caught:
            raise self._too_late(deadline, seconds)

    def _too_late(self, name: str, seconds: float | None) -> DeadlineExceeded:
        return DeadlineExceeded(
            f"{self!r}: the deadline {name!r} of {seconds} s passed", deadline=name, seconds=seconds or 0.0
        )

    @contextmanager
    def _mapped(self) -> Generator[None, None, None]:
        import aiohttp

        try:
            yield
        except SourceError:
            raise
        # aiohttp errors are not chained: their message or `repr` may contain the whole URL, the headers or a proxy's
        # credentials. Errors of the operating system contain none of these.
        except TimeoutError:
            # `connect` is the only timeout set on aiohttp.
            raise self._too_late("connect", self._deadlines.connect) from None
        except aiohttp.ClientResponseError as error:
            raise Disconnected(f"{self!r}: {type(error).__name__}") from None
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as error:
            raise ConnectFailed(f"{self!r}: expected http://host/path or https://…: {type(error).__name__}") from None
        except aiohttp.ClientConnectorError as error:
            raise ConnectFailed(f"{self!r}: no connection: {system_reason(error)}") from system_error(error)
        except (aiohttp.ClientError, ConnectionError) as error:
            raise Disconnected(f"{self!r}: the connection broke: {system_reason(error)}") from system_error(error)
