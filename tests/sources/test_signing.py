"""Signed requests: the signature covers the bytes that are sent. A stand-in for Bedrock verifies it with botocore."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials

import streamkit as sk
from streamkit.sources.aws import SigV4, region_of
from streamkit.sources.request import RequestToSign
from streamkit.sources.retry import Retry
from tests.amazon import event

pytestmark = pytest.mark.asyncio
READ = sk.Parse() | sk.Extract()
ANSWER = [
    event("messageStart", {"role": "assistant"}),
    event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Hi"}}),
    event("messageStop", {"stopReason": "end_turn"}),
    event("metadata", {"usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}}),
]
KEY, SECRET = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
MODEL = "/model/anthropic.claude-3-5-sonnet-20240620-v1%3A0/converse-stream"
MINE = SigV4(region="eu-west-1", access_key=KEY, secret_key=SECRET, session_token="a token")


def is_signed(method: str, url: str, headers: Mapping[str, str], body: bytes) -> bool:
    """Whether the signature equals botocore's for the received request."""
    given = headers["authorization"]
    names = given.partition("SignedHeaders=")[2].partition(",")[0].split(";")
    request = AWSRequest(method, url, headers={name: headers[name] for name in names}, data=body)
    request.context["timestamp"] = headers["x-amz-date"]
    auth = SigV4Auth(ReadOnlyCredentials(KEY, SECRET, "a token"), "bedrock", "eu-west-1")
    canonical = auth.canonical_request(request)
    return given.endswith("Signature=" + auth.signature(auth.string_to_sign(request, canonical), request))


class Stand:
    """Answers like Bedrock and stores the requests; the first `failures` attempts are throttled."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.received: list[tuple[str, str, dict[str, str], bytes]] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        url = f"http://{request.host}{request.raw_path}"
        self.received.append((request.method, url, headers, await request.read()))
        if request.path.startswith("/moved"):
            raise web.HTTPTemporaryRedirect(MODEL)
        if len(self.received) <= self.failures:
            return web.json_response({"message": "Too many requests"}, status=429)
        response = web.StreamResponse(headers={"content-type": "application/vnd.amazon.eventstream"})
        await response.prepare(request)
        for frame in ANSWER:
            await response.write(frame)
        return response


@asynccontextmanager
async def serving(stand: Stand) -> AsyncGenerator[str, None]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", stand.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def sent(path: str = MODEL, *, stand: Stand | None = None, **options: Any) -> Stand:
    """Send a signed request, and return the server that received it."""
    stand = stand or Stand()
    async with serving(stand) as url:
        options = {"json": {"a": "é"}, "sign": MINE, **options}
        assert await (sk.http.post(url + path, **options) | READ).text() == "Hi"
    return stand


async def test_the_server_finds_the_signature_right() -> None:
    ((method, url, headers, body),) = (await sent()).received

    assert headers["x-amz-security-token"] == "a token"
    assert headers["content-type"] == "application/json"
    assert body == b'{"a": "\\u00e9"}'
    assert is_signed(method, url, headers, body)
    assert not is_signed(method, url, headers, body + b" ")


@pytest.mark.parametrize(
    "options",
    [
        {"json": None, "data": b"bytes"},
        {"json": None, "data": "text é"},
        {"headers": {"x-amzn-bedrock-trace": "ENABLED", "Content-Type": "application/json; charset=utf-8"}},
        {"params": {"b": "2", "a": "1 +/é"}},
        {"params": [("a", "2"), ("a", "1")]},
    ],
    ids=["bytes", "text", "headers", "query", "query with a name twice"],
)
async def test_every_kind_of_request_is_signed_as_it_is_sent(options: dict[str, Any]) -> None:
    ((method, url, headers, body),) = (await sent(**options)).received

    assert is_signed(method, url, headers, body)
    assert headers.items() >= {name.lower(): value for name, value in options.get("headers", {}).items()}.items()


@pytest.mark.parametrize("path", ["/model/a:b/x", "/model/a%3Ab/x", "/model/arn%3Aaws%2Fp/x", "/a b/é", "/x?q=%2F&r"])
async def test_any_address_is_signed_as_it_is_sent(path: str) -> None:
    ((method, url, headers, body),) = (await sent(path)).received

    assert is_signed(method, url, headers, body)


async def test_each_attempt_has_a_signature_of_its_own() -> None:
    retry = Retry(attempts=3, first=0)

    received = (await sent(stand=Stand(failures=2), retry=retry)).received

    assert [is_signed(*request) for request in received] == [True, True, True]


async def test_a_redirect_within_the_origin_is_signed_anew() -> None:
    received = (await sent("/moved/here")).received

    assert [is_signed(*request) for request in received] == [True, True]


async def test_a_redirect_to_another_origin_is_not_signed() -> None:
    other = Stand()

    async def away(_: web.Request) -> web.StreamResponse:
        raise web.HTTPFound(target + "/there")

    signed: list[str] = []

    def sign(request: RequestToSign) -> Mapping[str, str]:
        signed.append(request.url)
        return {"authorization": "mine"}

    app = web.Application()
    app.router.add_get("/", away)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        async with serving(other) as target:
            assert await (sk.http.get(url, sign=sign, redirects="any") | READ).text() == "Hi"
    finally:
        await runner.cleanup()

    ((_, _, headers, _),) = other.received
    assert signed == [url]
    assert "authorization" not in headers


async def test_a_function_of_ones_own_adds_its_headers_in_place_of_others() -> None:
    seen: list[RequestToSign] = []

    def sign(request: RequestToSign) -> Mapping[str, str]:
        seen.append(request)
        return {"X-Signature": str(len(request.body)), "x-key": "new"}

    ((_, url, headers, body),) = (await sent("/v1?a=1", sign=sign, headers={"X-Key": "old", "x-other": "o"})).received

    assert (headers["x-signature"], headers["x-key"], headers["x-other"]) == (str(len(body)), "new", "o")
    (request,) = seen
    assert (request.method, request.url, request.body) == ("POST", url, body)
    assert "old" not in repr(request)
    assert "a=1" not in repr(request)


async def test_a_lent_session_writes_the_json_as_it_does_for_others() -> None:
    async with aiohttp.ClientSession(json_serialize=lambda value: '{"mine":true}') as session:
        ((method, url, headers, body),) = (await sent(session=session)).received

    assert body == b'{"mine":true}'
    assert is_signed(method, url, headers, body)


async def failure(**options: Any) -> Exception:
    stand = Stand()
    async with serving(stand) as url:
        with pytest.raises(sk.StreamkitError) as caught:
            async with sk.http.post(url + MODEL, **{"json": {}, "sign": MINE, **options}) | READ:
                pass
    assert stand.received == []
    return caught.value


async def test_a_body_that_is_neither_bytes_nor_json_cannot_be_signed() -> None:
    error = await failure(json=None, data={"field": "value"})

    assert str(error) == "data: expected bytes or text in a signed request, found an object of type dict"


async def test_json_that_cannot_be_written_is_reported_by_its_class() -> None:
    assert str(await failure(json={"a": object()})) == "json: Object of type object is not JSON serializable"


async def test_headers_that_http_does_not_have_are_refused() -> None:
    error = await failure(sign=lambda _: {"a": "secret\n"})

    assert isinstance(error, sk.PipelineError)
    assert "secret" not in str(error)


@pytest.mark.parametrize("sign", ["SigV4", {"service": "bedrock"}, 1])
async def test_what_is_no_function_is_refused_at_once(sign: Any) -> None:
    with pytest.raises(sk.PipelineError, match="sign: expected a function such as"):
        sk.http.post("http://127.0.0.1/", json={}, sign=sign)


# SigV4


@pytest.mark.parametrize(
    ("url", "region"),
    [
        ("https://bedrock-runtime.eu-west-1.amazonaws.com/model", "eu-west-1"),
        ("https://bedrock-runtime-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("https://bedrock-runtime.cn-north-1.amazonaws.com.cn/", "cn-north-1"),
        ("https://bedrock-runtime.us-east-2.api.aws/", "us-east-2"),
        ("https://bedrock.example.org/", None),
        ("http://127.0.0.1:8000/", None),
    ],
)
async def test_the_region_is_that_of_the_host(url: str, region: str | None) -> None:
    assert region_of(url) == region


def plain(url: str = "http://localhost/") -> RequestToSign:
    return RequestToSign("POST", url, {}, b"{}")


@pytest.fixture
def _no_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)


@pytest.mark.usefixtures("_no_configuration")
async def test_credentials_and_region_come_from_where_the_sdks_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "ap-south-1")

    found = SigV4()(plain())["Authorization"]

    assert f"Credential={KEY}/" in found
    assert "/ap-south-1/bedrock/aws4_request" in found
    at_host = SigV4()(plain("https://bedrock-runtime.eu-west-1.amazonaws.com/"))["Authorization"]
    assert "/eu-west-1/bedrock/aws4_request" in at_host
    assert "/us-west-2/sagemaker/" in SigV4("sagemaker", "us-west-2")(plain())["Authorization"]


@pytest.mark.usefixtures("_no_configuration")
async def test_without_credentials_or_a_region_the_error_says_what_is_missing() -> None:
    with pytest.raises(sk.PipelineError, match="expected credentials where the AWS SDKs look"):
        SigV4(region="eu-west-1")(plain())
    with pytest.raises(sk.PipelineError, match="expected a region: SigV4"):
        SigV4(access_key=KEY, secret_key=SECRET)(plain())
    with pytest.raises(sk.PipelineError, match="expected both of access_key and secret_key"):
        SigV4(access_key=KEY)


async def test_without_botocore_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "botocore.auth", None)

    with pytest.raises(sk.PipelineError, match=r"install the extra 'bedrock' of streamkit-llm"):
        MINE(plain())


async def test_no_key_is_shown() -> None:
    assert repr(MINE) == "SigV4(service='bedrock', region='eu-west-1', profile=None)"
