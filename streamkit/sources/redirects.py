"""Which redirects are followed, and which parts of the request are sent to their target. (WHATWG Fetch, HTTP-redirect fetch)

Keys and prompts are meant only for the origin in the caller's URL: scheme, host and port. (RFC 6454) HTTP clients drop
`Authorization` when they follow a redirect to another origin, but providers also accept keys in `x-api-key`, `api-key` and
`x-goog-api-key`, and 307 and 308 repeat the body.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from streamkit.errors import RedirectError
from streamkit.sources.request import address, pairs_of, sendable_again

if TYPE_CHECKING:
    from yarl import URL

Redirects: TypeAlias = Literal["never", "same-origin", "any"]
STATUSES = frozenset({301, 302, 303, 307, 308})
MAX_REDIRECTS = 10
_BODY = frozenset({"json", "data", "chunked", "compress", "expect100"})
_BODY_HEADERS = frozenset(
    {"content-encoding", "content-language", "content-length", "content-location", "content-type", "transfer-encoding"}
)
# Headers that reveal nothing about the caller. The server chose the `Last-Event-ID`.
_HARMLESS = frozenset({"accept", "accept-language", "cache-control", "last-event-id", "user-agent"})
# Options of aiohttp that concern the connection.
_CONNECTION = frozenset(
    {
        "auto_decompress",
        "max_field_size",
        "max_line_size",
        "proxy",
        "proxy_auth",
        "proxy_headers",
        "read_bufsize",
        "skip_auto_headers",
        "ssl",
    }
)


@dataclass(frozen=True)
class RedirectedRequest:
    """One request of a redirect chain. `foreign`: the chain has left the caller's origin; nothing of the caller is sent."""

    method: str
    url: "str | URL"
    options: Mapping[str, Any] = field(repr=False)
    foreign: bool = False

    @property
    def body(self) -> bool:
        """Whether the request has a body."""
        return any(self.options.get(name) is not None for name in ("json", "data"))


@dataclass(frozen=True)
class Redirect:
    """A redirect response. `at` is the URL that returned it, `source` the name of the request in messages."""

    source: str
    status: int
    at: "URL"
    headers: Mapping[str, str] = field(repr=False)

    def target(self) -> "URL | None":
        """The URL in `Location`; `None` if it is missing or not a valid HTTP URL."""
        from yarl import URL

        # An empty `Location` would resolve to the same URL, in an endless loop.
        if not (location := self.headers.get("Location", "").strip()):
            return None
        try:
            found = self.at.join(URL(location))
        except (ValueError, TypeError):
            return None
        return found if found.scheme in ("http", "https") and found.raw_host else None


def follow(request: RedirectedRequest, redirect: Redirect, policy: Redirects) -> RedirectedRequest:
    """Return the next request. Raises `RedirectError` if the policy forbids it or the body would be lost."""
    target = redirect.target()
    if target is None:
        raise refused(redirect, "but names no address to go to")
    if policy == "never":
        raise refused(redirect, "and redirects='never'")
    foreign = request.foreign or origin(target) != origin(redirect.at)
    if foreign and policy != "any":
        raise refused(redirect, f"from {_origin(redirect.at)} to another origin, {_origin(target)}; {_WAY_OUT}")
    method = _method(request.method, redirect.status)
    keeps_body = method == request.method
    if request.body:
        _check_body(request, redirect, policy, foreign=foreign, keeps_body=keeps_body)
    if foreign:
        return RedirectedRequest(method, target, _harmless(request.options), foreign=True)
    return RedirectedRequest(method, _same_user(target, request.url), _own(request.options, keeps_body))


def refused(redirect: Redirect, why: str) -> RedirectError:
    """Return the error for a redirect that is not followed. Its message has only origins: a path may quote the request."""
    target = redirect.target()
    return RedirectError(
        f"{redirect.source}: expected an answer, found a redirect with status {redirect.status} {why}",
        status=redirect.status,
        location=address(str(target)) if target else "",
        headers={name.lower(): value for name, value in redirect.headers.items()},
    )


_WAY_OUT = "if you trust it, use the address in .location"


def _check_body(
    request: RedirectedRequest, redirect: Redirect, policy: Redirects, *, foreign: bool, keeps_body: bool
) -> None:
    if keeps_body and foreign:
        raise refused(redirect, f"that requires the body at another origin; {_WAY_OUT}")
    if keeps_body and not sendable_again(request.options.get("data")):
        raise refused(redirect, f"that requires the body again, which can be read only once; {_WAY_OUT}")
    if not keeps_body and policy != "any":
        raise refused(redirect, f"that turns {request.method} into GET, which would lose the body; {_WAY_OUT}")


def origin(url: "URL") -> tuple[str, str | None, int | None]:
    """Scheme, host and port."""
    return url.scheme, url.raw_host, url.port


def _origin(url: "URL") -> str:
    return address(str(url.origin()))


def _method(method: str, status: int) -> str:
    # As browsers do; 307 and 308 exist to keep the method. (Fetch 4.4, step 12)
    if (status in (301, 302) and method == "POST") or (status == 303 and method not in ("GET", "HEAD")):
        return "GET"
    return method


def _same_user(target: "URL", url: "str | URL") -> "URL":
    # The caller's user part applies to the whole origin. One in `Location` could contradict an authorization header.
    from yarl import URL

    given = URL(url)
    return target.with_user(given.user).with_password(given.password) if given.user else target.with_user(None)


def _own(options: Mapping[str, Any], keeps_body: bool) -> dict[str, Any]:
    # The target URL has its own query, so `params` is dropped.
    dropped = {"params"} if keeps_body else {"params", *_BODY}
    kept = {name: value for name, value in options.items() if name not in dropped}
    if not keeps_body:
        kept["headers"] = [pair for pair in pairs_of(options.get("headers")) if _lower(pair) not in _BODY_HEADERS]
    return kept


def _harmless(options: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in options.items() if name in _CONNECTION}
    return kept | {"headers": [pair for pair in pairs_of(options.get("headers")) if _lower(pair) in _HARMLESS]}


def _lower(pair: tuple[object, object]) -> str:
    return str(pair[0]).lower()
