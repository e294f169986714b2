"""Redirects: which ones are followed; neither a key nor a prompt reaches an origin that the caller did not specify."""

import json
import shutil
import ssl
import subprocess
import traceback
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

import streamkit as sk
from streamkit.moderation.classifiers.remote import http_classifier, openai_moderation
from streamkit.sources import http
from streamkit.sources.redirects import Redirect, RedirectedRequest, follow
from streamkit.sources.retry import Retry
from tests.fire.server import DONE, FINISH, TEXT

SECRET = "sk-secret"
KEYS = {
    "authorization": f"Bearer {SECRET}",
    "x-api-key": SECRET,
    "api-key": SECRET,
    "x-goog-api-key": SECRET,
    "cookie": f"session={SECRET}",
    "x-anything": SECRET,
}
PROMPT = {"prompt": f"My password is {SECRET}"}
STATUSES = [301, 302, 303, 307, 308]
EVENTS = {"content-type": "text/event-stream"}


@dataclass
class Server:
    """Answers `/answer` with a stream, and everything else with a redirect to `location`. Records all requests."""

    status: int = 307
    location: str | None = "/answer"
    url: str = ""
    asked: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list[Any])

    async def handle(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.asked.append((request.method, request.path_qs, headers, await request.read()))
        if request.path == "/answer":
            return web.Response(body=TEXT + FINISH + DONE, headers=EVENTS)
        return web.Response(
            status=self.status, headers={} if self.location is None else {"location": self.location}, text="moved"
        )

    @property
    def answered(self) -> tuple[str, dict[str, str], bytes]:
        (found,) = [(method, headers, body) for method, path, headers, body in self.asked if path == "/answer"]
        return found


@asynccontextmanager
async def serving(*servers: Server, tls: ssl.SSLContext | None = None) -> AsyncGenerator[None, None]:
    runners: list[web.AppRunner] = []
    try:
        for server in servers:
            app = web.Application()
            app.router.add_route("*", "/{path:.*}", server.handle)
            runners.append(web.AppRunner(app, access_log=None))
            await runners[-1].setup()
            await web.TCPSite(runners[-1], "127.0.0.1", 0, ssl_context=tls).start()
            server.url = f"http{'s' if tls else ''}://127.0.0.1:{runners[-1].addresses[0][1]}"
        yield
    finally:
        for runner in runners:
            await runner.cleanup()


async def text_of(source: sk.Source[bytes]) -> str:
    async with source | sk.Parse() | sk.Extract() as events:
        return "".join([event.text async for event in events if isinstance(event, sk.TextDelta)])


async def refusal(source: sk.Source[Any]) -> sk.errors.RedirectError:
    with pytest.raises(sk.errors.RedirectError) as caught:
        async with source | sk.stage(lambda item: item) as items:
            async for _ in items:
                pass
    assert SECRET not in "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    return caught.value


def everything(server: Server) -> str:
    return repr(server.asked)


# Within the origin


@pytest.mark.asyncio
@pytest.mark.parametrize("status", STATUSES)
async def test_within_the_origin_get_is_followed_with_all_its_headers(status: int) -> None:
    server = Server(status)
    async with serving(server):
        assert await text_of(http.get(f"{server.url}/v1", headers=KEYS)) == "Hello"
    method, headers, body = server.answered
    assert (method, body) == ("GET", b"")
    assert {name: headers[name] for name in KEYS} == KEYS


@pytest.mark.asyncio
@pytest.mark.parametrize("status", [307, 308])
async def test_within_the_origin_307_and_308_repeat_all_of_the_request(status: int) -> None:
    server = Server(status)
    async with serving(server):
        assert await text_of(http.post(f"{server.url}/v1?a=b", headers=KEYS, json=PROMPT, params={"c": "d"})) == "Hello"
    method, headers, body = server.answered
    assert (method, json.loads(body)) == ("POST", PROMPT)
    assert {name: headers[name] for name in KEYS} == KEYS
    assert [path for _, path, _, _ in server.asked] == ["/v1?a=b&c=d", "/answer"]


@pytest.mark.asyncio
@pytest.mark.parametrize("status", [301, 302, 303])
async def test_a_prompt_is_not_lost_by_turning_post_into_get(status: int) -> None:
    server = Server(status)
    async with serving(server):
        error = await refusal(http.post(f"{server.url}/v1", headers=KEYS, json=PROMPT))
    assert len(server.asked) == 1
    assert (error.status, error.location, error.body) == (status, f"{server.url}/answer", b"moved")
    assert f"a redirect with status {status} that turns POST into GET, which would lose the body" in str(error)


@pytest.mark.asyncio
@pytest.mark.parametrize("status", [301, 302, 303])
async def test_it_may_be_lost_where_any_redirect_is_allowed(status: int) -> None:
    server = Server(status)
    async with serving(server):
        assert await text_of(http.post(f"{server.url}/v1", headers=KEYS, json=PROMPT, redirects="any")) == "Hello"
    method, headers, body = server.answered
    assert (method, body, headers["x-api-key"]) == ("GET", b"", SECRET)
    assert "content-type" not in headers


@pytest.mark.asyncio
@pytest.mark.parametrize("status", [301, 302, 303])
async def test_a_post_without_a_body_loses_nothing(status: int) -> None:
    server = Server(status)
    async with serving(server):
        assert await text_of(http.post(f"{server.url}/v1")) == "Hello"
    assert server.answered[0] == "GET"


@pytest.mark.asyncio
async def test_a_body_that_can_be_read_once_is_not_sent_empty() -> None:
    async def pieces() -> AsyncGenerator[bytes, None]:
        yield SECRET.encode()

    server = Server(307)
    async with serving(server):
        error = await refusal(http.post(f"{server.url}/v1", data=pieces()))
    assert "requires the body again, which can be read only once" in str(error)
    assert len(server.asked) == 1


@pytest.mark.asyncio
async def test_a_body_that_can_be_read_once_is_not_tried_again_either() -> None:
    async def pieces() -> AsyncGenerator[bytes, None]:
        yield SECRET.encode()

    server = Server(503, None)
    async with serving(server):
        with pytest.raises(sk.StatusError):
            await text_of(http.post(f"{server.url}/v1", data=pieces(), retry=Retry(attempts=3, first=0)))
    assert len(server.asked) == 1


@pytest.mark.asyncio
async def test_within_the_origin_a_user_part_is_kept_and_that_of_the_location_is_not_used() -> None:
    server = Server(307)
    async with serving(server):
        server.location = f"{server.url.replace('://', '://other:word@')}/answer"
        own = server.url.replace("://", "://user:word@")
        assert await text_of(http.post(f"{own}/v1", json=PROMPT)) == "Hello"
        assert (
            await text_of(http.post(f"{server.url}/v1", json=PROMPT, headers={"authorization": "Bearer x"})) == "Hello"
        )
    answered = [headers["authorization"] for _, path, headers, _ in server.asked if path == "/answer"]
    assert answered == ["Basic dXNlcjp3b3Jk", "Bearer x"]


@pytest.mark.asyncio
@pytest.mark.parametrize("method", ["post", "Post"])
async def test_a_method_in_small_letters_is_the_same(method: str) -> None:
    server = Server(302)
    async with serving(server):
        assert "turns POST into GET" in str(await refusal(sk.feed(f"{server.url}/v1", method=method, json=PROMPT)))


# To another origin


@pytest.mark.asyncio
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("status", STATUSES)
async def test_another_origin_is_not_asked(status: int, method: str) -> None:
    here, there = Server(status), Server()
    async with serving(here, there):
        here.location = f"http://{SECRET}@{there.url.removeprefix('http://')}/answer?key={SECRET}"
        ask = http.get if method == "GET" else http.post
        error = await refusal(ask(f"{here.url}/v1", headers=KEYS, **({} if method == "GET" else {"json": PROMPT})))
    assert there.asked == []
    assert error.location == f"{there.url}/answer"
    assert f"with status {status} from {here.url} to another origin, {there.url};" in str(error)


@pytest.mark.asyncio
@pytest.mark.parametrize("status", STATUSES)
async def test_where_it_is_allowed_another_origin_gets_nothing_of_the_caller(status: int) -> None:
    here, there = Server(status), Server()
    async with serving(here, there):
        here.location = f"{there.url}/answer"
        jar = aiohttp.CookieJar(unsafe=True)  # stores cookies for an IP address, which are sent to all its ports
        async with aiohttp.ClientSession(headers=KEYS, cookies={"c": SECRET}, cookie_jar=jar) as session:
            source = http.get(
                f"{here.url}/v1",
                headers={**KEYS, "Accept": "text/event-stream", "Accept-Language": "de"},
                params={"key": SECRET},
                cookies={"d": SECRET},
                session=session,
                redirects="any",
            )
            assert await text_of(source) == "Hello"
            assert not session.closed
    method, headers, body = there.answered
    assert (method, body) == ("GET", b"")
    assert SECRET not in everything(there)
    assert SECRET in everything(here)
    assert (headers["accept"], headers["accept-language"]) == ("text/event-stream", "de")


@pytest.mark.asyncio
@pytest.mark.parametrize("status", STATUSES)
async def test_where_it_is_allowed_a_prompt_still_goes_to_no_other_origin(status: int) -> None:
    here, there = Server(status), Server()
    async with serving(here, there):
        here.location = f"{there.url}/answer"
        source = http.post(f"{here.url}/v1", headers=KEYS, json=PROMPT, redirects="any")
        if status in (307, 308):
            error = await refusal(source)
            assert "requires the body at another origin" in str(error)
            assert there.asked == []
        else:
            assert await text_of(source) == "Hello"
            assert there.answered[0] == "GET"
    assert SECRET not in everything(there)


@pytest.mark.asyncio
async def test_on_the_way_back_from_another_origin_the_headers_stay_away() -> None:
    here, there = Server(302), Server(302)
    async with serving(here, there):
        here.location, there.location = f"{there.url}/v2", f"{here.url}/answer"
        assert await text_of(http.get(f"{here.url}/v1", headers=KEYS, redirects="any")) == "Hello"
    assert SECRET not in repr(here.answered)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    if not (openssl := shutil.which("openssl")):
        pytest.skip("no openssl to make a certificate with")
    folder: Path = tmp_path_factory.mktemp("tls")
    made = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem"), "-subj", "/CN=localhost"]
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *made]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


@pytest.mark.asyncio
@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("down", [True, False], ids=["https to http", "http to https"])
async def test_another_scheme_is_another_origin(status: int, down: bool, tls: ssl.SSLContext) -> None:
    plain, secure = Server(status), Server(status)
    async with serving(plain), serving(secure, tls=tls):
        here, there = (secure, plain) if down else (plain, secure)
        here.location = f"{there.url}/answer"
        error = await refusal(http.post(f"{here.url}/v1", headers=KEYS, json=PROMPT, ssl=False))
        assert there.asked == []
        assert error.location == f"{there.url}/answer"


@pytest.mark.parametrize(
    ("location", "same"),
    [
        ("/x", True),
        ("?x", True),
        ("https://api.example/x", True),
        ("https://API.example:443/x", True),
        ("https://user:pass@api.example/x", True),
        ("//api.example/x", True),
        ("https:/x", True),
        ("http://api.example/x", False),
        ("http://api.example:443/x", False),
        ("https://api.example:8443/x", False),
        ("https://api.example./x", False),
        ("https://www.api.example/x", False),
        ("https://api.example.evil.example/x", False),
        ("https://api.example@evil.example/x", False),
        ("//evil.example/x", False),
        ("  https://evil.example/x", False),
        ("https://evil.exam\tple/x", False),
    ],
)
def test_an_origin_is_scheme_host_and_port(location: str, same: bool) -> None:
    request = RedirectedRequest("GET", "https://api.example/v1", {"headers": KEYS})
    redirect = Redirect("<GET>", 302, URL("https://api.example/v1"), {"Location": location})
    if same:
        assert follow(request, redirect, "same-origin").options["headers"] == KEYS
    else:
        with pytest.raises(sk.errors.RedirectError, match=r"from https://api\.example to another origin, http"):
            follow(request, redirect, "same-origin")
        assert follow(request, redirect, "any").options["headers"] == []


@pytest.mark.parametrize(
    "location",
    [
        None,
        "",
        "   ",
        "javascript:alert(1)",
        "file:///etc/passwd",
        "data:,x",
        "ws://api.example/",
        "http://",
        "http:///x",
        "http://[::1/",
        "https://api.example:99999/",
        "https://evil\\@api.example/",
        "https://\udcff/",
    ],
)
def test_a_location_that_is_no_address_of_https_is_not_followed(location: str | None) -> None:
    headers = {} if location is None else {"Location": location}
    redirect = Redirect("<GET>", 302, URL("https://api.example/v1"), headers)
    with pytest.raises(sk.errors.RedirectError, match="names no address to go to") as caught:
        follow(RedirectedRequest("GET", "https://api.example/v1", {}), redirect, "any")
    assert caught.value.location == ""


# Other sources


@pytest.mark.asyncio
async def test_redirects_in_a_circle_end() -> None:
    server = Server(302, "/v1")
    async with serving(server):
        error = await refusal(http.get(f"{server.url}/v1"))
    assert "with status 302 after 10 others" in str(error)
    assert len(server.asked) == 11


@pytest.mark.asyncio
async def test_none_is_followed_where_none_is_allowed() -> None:
    server = Server(307)
    async with serving(server):
        error = await refusal(http.get(f"{server.url}/v1", redirects="never"))
    assert (len(server.asked), error.location) == (1, f"{server.url}/answer")


@pytest.mark.asyncio
@pytest.mark.parametrize("status", [300, 304, 305])
async def test_another_status_of_300_and_more_is_no_success_either(status: int) -> None:
    server = Server(status)
    async with serving(server):
        with pytest.raises(sk.StatusError, match=f"expected a success, found status {status}"):
            await text_of(http.get(f"{server.url}/v1"))
    assert len(server.asked) == 1


@pytest.mark.parametrize("option", ["allow_redirects", "max_redirects"])
def test_aiohttps_own_options_are_refused_with_what_takes_their_place(option: str) -> None:
    with pytest.raises(sk.PipelineError, match=f"{option}: expected redirects="):
        http.get("http://api.example", **{option: 1})


def test_another_policy_is_refused() -> None:
    with pytest.raises(sk.PipelineError, match="redirects: expected 'never', 'same-origin' or 'any', found 'all'"):
        http.get("http://api.example", redirects="all")  # type: ignore[arg-type]


@pytest.mark.asyncio
@pytest.mark.parametrize("status", STATUSES)
async def test_a_classifier_sends_neither_its_key_nor_the_text_elsewhere(status: int) -> None:
    here, there = Server(status), Server()
    async with serving(here, there):
        here.location = f"{there.url}/answer"
        openai = openai_moderation(f"{here.url}/v1", key=SECRET, retry=None)
        other = http_classifier(
            f"{here.url}/v1", request=lambda window: window.text, verdict=lambda _: sk.moderation.Decision()
        )
        for classifier in (openai, other):
            with pytest.raises(sk.errors.RedirectError):
                await classifier(sk.moderation.Window(0, SECRET))
    assert there.asked == []
    assert len(here.asked) == 2


@pytest.mark.asyncio
@pytest.mark.parametrize("status", STATUSES)
async def test_a_feed_sends_neither_its_headers_nor_its_body_elsewhere(status: int) -> None:
    here, there = Server(status), Server()
    async with serving(here, there):
        here.location = f"{there.url}/answer"
        await refusal(sk.feed(f"{here.url}/v1", headers=KEYS))
        await refusal(sk.feed(f"{here.url}/v1", headers=KEYS, json=PROMPT))
    assert there.asked == []


@pytest.mark.asyncio
async def test_a_session_that_raises_for_a_status_by_itself_changes_nothing() -> None:
    server = Server(503, None)
    async with serving(server), aiohttp.ClientSession(raise_for_status=True) as session:
        with pytest.raises(sk.StatusError) as caught:
            await text_of(http.get(f"{server.url}/v1", session=session))
    assert (caught.value.status, caught.value.body) == (503, b"moved")
