"""An HTTP answer as a source, on aiohttp.

    async with streamkit.http.post(url, json=body, headers=headers) | pipeline as events: ...

aiohttp is imported when the first source is opened.
"""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import anyio

from streamkit.errors import ConnectFailed, ContentTypeError, DeadlineExceeded, Disconnected, SourceError, StatusError
from streamkit.source import Source

if TYPE_CHECKING:
    import aiohttp

HEAD_BYTES = 64 * 1024
"""How much of the body an error keeps."""
_NO_STREAM = ("text/html", "application/xhtml+xml")


def post(
    url: str,
    *,
    json: object = None,
    headers: Mapping[str, str] | None = None,
    session: "aiohttp.ClientSession | None" = None,
    connect: float | None = 10.0,
    first_byte: float | None = None,
    idle: float | None = None,
    **options: Any,
) -> "Http":
    """POST, and read the answer's body as it comes. Nothing is sent before the stream is opened.

    Deadlines in seconds, `None` for none: `connect` until the connection is there, `first_byte` until the answer's head,
    `idle` between two pieces of the body; `DeadlineExceeded` names the one that passed. `session`: lent, it stays open;
    without one the source makes its own and closes it. Further options go to `aiohttp.ClientSession.request`.

    A status of 400 or more raises `StatusError` with the head of the body, an HTML answer `ContentTypeError`, a broken
    connection `Disconnected`.
    """
    return Http("POST", url, session, connect, first_byte, idle, {"json": json, "headers": headers, **options})


def get(
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    session: "aiohttp.ClientSession | None" = None,
    connect: float | None = 10.0,
    first_byte: float | None = None,
    idle: float | None = None,
    **options: Any,
) -> "Http":
    """GET; all else as `post`."""
    return Http("GET", url, session, connect, first_byte, idle, {"headers": headers, **options})


class Http(Source[bytes]):
    """One request and its answer's body. Made by `post` and `get`."""

    def __init__(
        self,
        method: str,
        url: str,
        session: "aiohttp.ClientSession | None",
        connect: float | None,
        first_byte: float | None,
        idle: float | None,
        options: dict[str, Any],
    ) -> None:
        self._method = method
        self._url = url
        self._lent = session
        self._owned: aiohttp.ClientSession | None = None
        self._response: aiohttp.ClientResponse | None = None
        self._connect = connect
        self._first_byte = first_byte
        self._idle = idle
        self._options = options

    def __repr__(self) -> str:
        # A query may hold a key, and so may the user part; neither is shown.
        parts = urlsplit(self._url)
        return f"<{self._method} {parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}{parts.path}>"

    @property
    def status(self) -> int | None:
        """The answer's status; `None` before it is there."""
        return self._response.status if self._response else None

    @property
    def headers(self) -> Mapping[str, str]:
        """The answer's headers; empty before they are there."""
        return self._response.headers if self._response else {}

    async def open(self) -> None:
        import aiohttp

        session = self._lent
        if session is None:
            session = self._owned = aiohttp.ClientSession()
        timeout = aiohttp.ClientTimeout(total=None, connect=self._connect)
        with self._mapped("connect", self._connect), self._deadline("first_byte", self._first_byte):
            self._response = await session.request(self._method, self._url, timeout=timeout, **self._options)
        await self._check(self._response)

    async def read(self) -> Sequence[bytes]:
        assert self._response is not None, "read before open"
        with self._mapped("idle", self._idle), self._deadline("idle", self._idle):
            # `readany` gives what is there; aiohttp's own line reading fails past its limit.
            piece = await self._response.content.readany()
        return (piece,) if piece else ()

    async def close(self) -> None:
        response, self._response = self._response, None
        owned, self._owned = self._owned, None
        if response is not None:
            # Releases the connection for reuse if the body was read to its end, and closes it otherwise.
            response.release()
        if owned is not None:
            await owned.close()

    async def _check(self, response: "aiohttp.ClientResponse") -> None:
        if response.status >= 400:
            raise StatusError(
                f"{self!r}: expected a success, found status {response.status}",
                status=response.status,
                body=await self._head(response),
                headers=dict(response.headers),
            )
        if response.content_type in _NO_STREAM:
            raise ContentTypeError(
                f"{self!r}: expected text/event-stream or JSON, found {response.content_type}",
                content_type=response.content_type,
                body=await self._head(response),
            )

    async def _head(self, response: "aiohttp.ClientResponse") -> bytes:
        head = b""
        with self._mapped("idle", self._idle):
            while len(head) < HEAD_BYTES and (piece := await response.content.readany()):
                head += piece
        return head[:HEAD_BYTES]

    @contextmanager
    def _deadline(self, name: str, seconds: float | None) -> Generator[None, None, None]:
        with anyio.move_on_after(seconds) as scope:
            yield
        if scope.cancelled_caught:
            raise self._too_late(name, seconds)

    def _too_late(self, name: str, seconds: float | None) -> DeadlineExceeded:
        return DeadlineExceeded(
            f"{self!r}: the deadline {name!r} of {seconds} s passed", deadline=name, seconds=seconds or 0.0
        )

    @contextmanager
    def _mapped(self, deadline: str, seconds: float | None) -> Generator[None, None, None]:
        import aiohttp

        try:
            yield
        except SourceError:
            raise
        except TimeoutError as error:
            raise self._too_late(deadline, seconds) from error
        except (aiohttp.ClientConnectorError, aiohttp.InvalidURL) as error:
            raise ConnectFailed(f"{self!r}: no connection: {type(error).__name__}") from error
        except aiohttp.ClientError as error:
            raise Disconnected(f"{self!r}: the connection broke: {type(error).__name__}") from error
