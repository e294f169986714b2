"""No error, `repr` or cause of an error contains a key, for any URL, header or option."""

import string
import traceback
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import anyio
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

import streamkit as sk
from streamkit.sources import http
from streamkit.sources.request import address
from tests.fire.server import serve, then_silence

KEY = "sk-secret"
HERE = "http://LIVE/v1"
Make = Callable[[str], sk.Source[Any]]


@asynccontextmanager
async def live() -> AsyncGenerator[str, None]:
    """Yield host and port of a server that answers every request."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text="data: x\n\n", content_type="text/event-stream")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def shown_by(error: BaseException | None) -> str:
    """Return everything that a log, a debugger or an error tracker would show of an error."""
    told = ""
    while error is not None:
        told += f"{error}\n{error!r}\n{vars(error)!r}\n{traceback.format_exception_only(error)}"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return told


async def outcome(make: Make) -> tuple[Exception | None, str]:
    """Return the error of opening the source, and everything that is shown of both."""
    shown = ""
    try:
        async with live() as host:
            source = make(host)
            shown = repr(source)
            async with source | sk.stage(lambda item: item) as items:
                await anext(items)
    except Exception as error:
        return error, shown + shown_by(error)
    return None, shown


def post(url: str = HERE, **options: Any) -> Make:
    return lambda host: http.post(url.replace("LIVE", host), **options)


UNSENDABLE: dict[str, tuple[Make, type[Exception], str]] = {
    "a key as bytes": (post(headers={"authorization": KEY.encode()}), sk.PipelineError, "found bytes in header 1 of 1"),
    "a key as a number": (post(headers={"a": "b", "x-api-key": 5}), sk.PipelineError, "found int in header 2 of 2"),
    "no key": (post(headers={"x-api-key": None}), sk.PipelineError, "expected a str as the value, found NoneType"),
    "a key with a line end": (
        post(headers={"authorization": f"Bearer {KEY}\n"}),
        sk.PipelineError,
        r"expected a value of one line, found '\\n' \(a key read from a file ends with a line end\?\)",
    ),
    "a key as a name": (post(headers={f"x: {KEY}": ""}), sk.PipelineError, "expected a name of letters, digits"),
    "a key as bytes for a name": (post(headers={KEY.encode(): ""}), sk.PipelineError, "expected a str as the name"),
    "a lone surrogate": (post(headers={"a": f"{KEY}\udc80"}), sk.PipelineError, "found a lone surrogate"),
    "pairs": (post(headers=[("authorization", KEY.encode())]), sk.PipelineError, "found bytes in header 1 of 1"),
    "headers as text": (post(headers=KEY), sk.PipelineError, "expected a mapping of names to values, found str"),
    "an address as bytes": (lambda _: http.post(f"http://h/?key={KEY}".encode()), sk.PipelineError, "found bytes"),  # type: ignore[arg-type]
    "a key for a port": (post(f"http://127.0.0.1:{KEY}/v1"), sk.errors.ConnectFailed, "an address that can't be read"),
    "a key and a header": (
        post(f"http://user:{KEY}@LIVE/v1", headers={"authorization": f"Bearer {KEY}"}),
        sk.PipelineError,
        "not both a user part in the address and an authorization header",
    ),
    "a key that is not Latin-1": (post(f"http://ключ:{KEY}☃@LIVE/v1"), sk.PipelineError, "credentials in Latin-1"),
    "a colon in the user": (post(f"http://u%3A{KEY}:x@LIVE/v1"), sk.PipelineError, "can't be sent: ValueError"),
    "a backslash in the key": (post(f"http://u:{KEY}\\@LIVE/v1"), sk.errors.ConnectFailed, "expected http://host/path"),
    "a slash in the key": (post(f"http://u:{KEY}/x@LIVE/v1"), sk.errors.ConnectFailed, "an address that can't be read"),
    "no scheme": (post(f"user:{KEY}@LIVE/v1"), sk.errors.ConnectFailed, "an address without a host"),
    "a host too long": (post(f"http://{'a' * 70}.x/?key={KEY}"), sk.PipelineError, "can't be sent: Unicode"),
    "params": (post(params={"key": KEY.encode()}), sk.PipelineError, "can't be sent: TypeError"),
    "a cookie": (post(cookies={f"{KEY} x;": KEY}), sk.PipelineError, "can't be sent: CookieError"),
    "auth": (post(auth=("user", KEY)), sk.PipelineError, "auth: expected headers="),
    "a proxy": (post(proxy=f"http://u:{KEY}@[::1"), sk.errors.ConnectFailed, "InvalidURL"),
    "a proxy that refuses": (post(proxy=f"http://u:{KEY}@127.0.0.1:1"), sk.errors.ConnectFailed, r"\[Errno 111\]"),
    "a proxy that is not Latin-1": (post(proxy=f"http://☃:{KEY}@LIVE"), sk.PipelineError, "can't be sent: Unicode"),
    "JSON": (post(json={"a": KEY, "b": KEY.encode()}), sk.PipelineError, "json: Object of type bytes is not JSON"),
    "JSON's keys": (post(json={(KEY,): 1}), sk.PipelineError, "json: keys must be str"),
    "json and data": (post(json={}, data=KEY), sk.PipelineError, "expected json or data, found both"),
    "an option": (post(api_key=KEY), sk.PipelineError, "api_key: expected headers="),
    "an option of nobody": (post(sorcery=KEY), sk.PipelineError, "options that aiohttp.ClientSession.request knows"),
    "TLS": (post(ssl=KEY), sk.PipelineError, "can't be sent: TypeError"),
    "a method": (lambda _: sk.feed("http://h", method=f"GET {KEY}"), sk.PipelineError, "method: expected a word"),
    "a feed's header": (
        lambda _: sk.feed("http://h", headers={"a": KEY.encode()}),  # type: ignore[dict-item]
        sk.PipelineError,
        "found bytes in header 1 of 1",
    ),
    "a feed's id": (lambda _: sk.feed("http://h", last_event_id=f"{KEY}\n"), sk.PipelineError, "last_event_id"),
}


@pytest.mark.asyncio
@pytest.mark.filterwarnings("ignore:The 'auth' parameter is deprecated")
@pytest.mark.parametrize("name", UNSENDABLE)
async def test_what_cant_be_sent_is_a_typed_error_without_it(name: str) -> None:
    make, kind, message = UNSENDABLE[name]
    error, shown = await outcome(make)
    assert type(error) is kind
    with pytest.raises(kind, match=message):
        raise error
    assert KEY not in shown


@pytest.mark.parametrize("key", [KEY.encode(), 5], ids=["bytes", "a number"])
def test_a_classifiers_key_is_text(key: Any) -> None:
    with pytest.raises(sk.PipelineError, match=r"key: expected a str, found (bytes|int)"):
        sk.moderation.remote.openai_moderation(key=key)


@pytest.mark.asyncio
@pytest.mark.parametrize("value", [KEY.encode(), f"{KEY}\n"], ids=["bytes", "a line end"])
async def test_a_session_whose_headers_cant_be_sent_shows_none_of_them(value: Any) -> None:
    async with live() as host, aiohttp.ClientSession(headers={"authorization": value}) as session:
        with pytest.raises(sk.PipelineError) as caught:
            async with http.post(f"http://{host}/v1", session=session) | sk.stage(lambda item: item) as items:
                await anext(items)
    assert KEY not in shown_by(caught.value)


@pytest.mark.asyncio
async def test_a_session_that_is_closed_is_a_mistake_and_said_so() -> None:
    async with aiohttp.ClientSession() as session:
        pass
    with pytest.raises(sk.PipelineError, match=r"<POST http://h/>: expected an open session, found one that is closed"):
        async with http.post("http://h/", session=session) | sk.stage(lambda item: item):
            pass


@pytest.mark.asyncio
async def test_a_deadline_that_passes_while_it_connects_does_not_quote_the_address() -> None:
    paths = {"stall": then_silence(b"data: x\n\n")}
    async with serve(paths) as (url, _), aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session:
        async with http.get(f"{url}/stall", session=session) | sk.stage(lambda item: item) as busy:
            await anext(busy)
            source = http.post(f"{url}/?key={KEY}", session=session, deadlines=http.Deadlines(connect=0.02))
            with pytest.raises(sk.errors.DeadlineExceeded) as caught:
                async with source | sk.stage(lambda item: item):
                    pass
    assert caught.value.deadline == "connect"
    assert KEY not in shown_by(caught.value)


PIECES = st.text(
    st.sampled_from(string.ascii_letters + string.digits + ":/?#[]@!$&'()*+,;=%\\ ☃é\udc80\x00\n\t"), max_size=6
)


@given(
    scheme=st.sampled_from(["http://", "https://", "ftp://", "http:/", "//", "", "http:\\\\"]),
    before=PIECES,
    between=PIECES,
    host=st.sampled_from(["127.0.0.1:1", "[::1]:1", "[::1", "h:99999", "h:", ""]),
)
def test_no_user_part_is_shown_of_any_address(scheme: str, before: str, between: str, host: str) -> None:
    assert KEY not in address(f"{scheme}{before}:{KEY}{between}@{host}/v1")


VALUES = st.one_of(
    st.sampled_from(
        [KEY, KEY.encode(), bytearray(KEY.encode()), f"{KEY}\n", f"☃{KEY}", f"{KEY}\udc80", [KEY], (KEY, KEY)]
    ),
    st.builds(lambda before, after: before + KEY + after, PIECES, PIECES),
)
OPTIONS = st.dictionaries(
    st.sampled_from(["params", "cookies", "auth", "proxy", "proxy_headers", "data", "json", "ssl", "server_hostname"]),
    st.one_of(VALUES, st.dictionaries(st.one_of(PIECES, VALUES.filter(lambda value: isinstance(value, str))), VALUES)),
    max_size=2,
)
HEADERS = st.dictionaries(
    st.one_of(st.sampled_from(["authorization", "x-api-key", "cookie"]), PIECES), VALUES, max_size=2
)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@given(headers=HEADERS, options=OPTIONS)
def test_no_combination_of_headers_and_options_shows_a_key(headers: dict[str, Any], options: dict[str, Any]) -> None:
    async def attempt() -> None:
        # Port 1 refuses connections; the arguments are checked before.
        try:
            source = http.post(f"http://127.0.0.1:1/v1?key={KEY}", headers=headers, **options)
            shown = repr(source)
            async with source | sk.stage(lambda item: item) as items:
                await anext(items)
        except sk.StreamkitError as error:
            shown = shown_by(error)
        assert KEY not in shown

    anyio.run(attempt)
