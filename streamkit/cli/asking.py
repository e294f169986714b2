"""Options of the commands that send a request: URL, body, key. A key is never a command-line argument."""

import argparse
import difflib
import os
import sys
from codecs import BOM_UTF8
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import msgspec

from streamkit.cli import complaint
from streamkit.cli.presets import DEMO, PRESETS
from streamkit.cli.provider import Provider, serve
from streamkit.display.comparison import endpoint
from streamkit.errors import PipelineError
from streamkit.plugins.config_files import name_of, reason_of
from streamkit.sources.recording import REDACTED, cleaned
from streamkit.sse.json_text import NOT_JSON

DEMO_MODEL = "gpt-4o-mini"
NO_PROMPT = "expected PROMPT, as an argument or on standard input, or a request as --body FILE"


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the URL and the options of the request."""
    describe_address(parser, "url")
    describe_key(parser)


def describe_address(parser: argparse.ArgumentParser, name: str) -> None:
    """Add the URL, as a positional argument or as an option of this name."""
    url: Any = parser.add_argument(
        name,
        metavar="URL",
        help=f"an endpoint, a base URL such as https://api.openai.com/v1, or a preset: {', '.join(PRESETS)}",
    )
    url.completer = _complete_url


def describe_key(parser: argparse.ArgumentParser) -> None:
    """Add the options for the key and other headers, and `--verbose`."""
    add = parser.add_argument
    add(
        "--key-from",
        metavar="NAME",
        help="the environment variable with the key (default: that of the preset; none for a URL)",
    )
    add(
        "--key-header",
        metavar="NAME",
        help="the header for the key: x-api-key, api-key, … (default: that of the preset; for a URL authorization, which has "
        "the prefix `Bearer`)",
    )
    add(
        "--header",
        action="append",
        default=[],
        type=_header,
        metavar="'NAME: VALUE'",
        help="an additional header; repeatable",
    )
    complaint.describe_verbose(parser)


def headers(options: argparse.Namespace) -> dict[str, str]:
    """Return the request headers. Raises `PipelineError` if the environment variable of the key is not set."""
    preset = PRESETS.get(options.url)
    found = {**dict(preset.headers if preset else ()), **dict(options.header)}
    names = (options.key_from,) if options.key_from else preset.keys if preset else ()
    if names:
        key = next((key for name in names if (key := os.environ.get(name))), None)
        if key is None:
            raise PipelineError(f"expected a key in the environment variable {' or '.join(names)}, found none")
        header = options.key_header or (preset.key_header if preset else "authorization")
        found[header] = f"Bearer {key}" if header.lower() == "authorization" else key
    return found


def address(options: argparse.Namespace) -> str:
    """Return the URL, or that of the preset. Exits with a usage error for an unknown preset or a missing `--model`."""
    url: str = options.url
    if preset := PRESETS.get(url):
        if "{model}" in preset.url and not options.model:
            options.error(f"{url} needs --model")
        if preset.url == DEMO and not options.model:
            options.model = DEMO_MODEL
        return preset.url.replace("{model}", options.model or "")
    if not _is_address(url):
        near = difflib.get_close_matches(url, PRESETS, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        options.error(f"expected http://host/path, https://… or one of the presets {', '.join(PRESETS)}{hint}")
    return url


@asynccontextmanager
async def served(url: str) -> AsyncGenerator[str, None]:
    """Yield the URL. For the demo, start the embedded provider, which runs until the block is left, and yield its URL."""
    if not url.startswith(DEMO):
        yield url
        return
    async with serve(Provider()) as root:
        yield url.replace(DEMO, f"{root}/v1", 1)


def endpoint_of(url: str, body: Mapping[str, Any]) -> str:
    """Return the URL for a request: a base URL that ends in `/v1` is completed according to the body, as in `compare`."""
    parts = urlsplit(url)
    base = parts.path.rstrip("/")
    if not base.endswith("/v1"):
        return url
    if "input" in body and "messages" not in body:
        return urlunsplit(parts._replace(path=f"{base}/responses"))
    return endpoint(url, body)


def body(path: str) -> dict[str, Any]:
    """Return the JSON object in a file, or on standard input for `-`. Raises `PipelineError` for anything else."""
    if path == "-":
        return _object(sys.stdin.buffer.read(), "standard input")
    try:
        content = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise PipelineError(f"{name_of(Path(path))} can't be read: {reason_of(error)}") from error
    return _object(content, name_of(Path(path)))


def body_or_prompt() -> dict[str, Any] | str:
    """Read standard input: a request if it is a JSON object, otherwise a prompt, stripped of white space.

    Raises `PipelineError` if it is empty, starts with `{` and is not a JSON object, or is not UTF-8.
    """
    content = sys.stdin.buffer.read().removeprefix(BOM_UTF8).strip()
    if content.startswith(b"{"):
        return _object(content, "standard input")
    if not content:
        raise PipelineError(f"{NO_PROMPT}; standard input is empty")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise PipelineError(f"{NO_PROMPT}; standard input is no text in UTF-8") from None


def _object(content: bytes, name: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = msgspec.json.decode(content, type=dict[str, Any])
    except NOT_JSON:
        # The content may be a prompt, so it is not shown.
        raise PipelineError(f"{name}: expected a JSON object") from None
    return found


def body_of(prompt: str, model: str | None, url: str) -> dict[str, Any]:
    """Return a minimal request with this prompt, in the format of the endpoint, which is detected by its path.

    Anthropic requires `max_tokens` (https://docs.claude.com/en/api/messages); Gemini has the model in the path.
    """
    path = urlsplit(url).path.rstrip("/")
    messages = [{"role": "user", "content": prompt}]
    if is_gemini(url):
        return {"contents": [{"role": "user", "parts": [{"text": prompt}]}]}
    if path.endswith("/messages"):
        return {"model": model, "max_tokens": 1024, "messages": messages}
    if path.endswith("/responses"):
        return {"model": model, "input": prompt}
    if path.endswith(("/api/generate", "/completions")) and not path.endswith("/chat/completions"):
        return {"model": model, "prompt": prompt}
    return {"model": model, "messages": messages}


def is_gemini(url: str) -> bool:
    """Whether it is a Gemini URL, `…/models/NAME:streamGenerateContent`; its requests have no fields `model` and `stream`."""
    return ":" in urlsplit(url).path.rpartition("/")[2]


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    # An IPv6 address without its closing bracket, or a port that is not a number.
    except ValueError:
        return False


def _complete_url(prefix: str, **_: object) -> list[str]:
    return [name for name in PRESETS if name.startswith(prefix)]


def _header(text: str) -> tuple[str, str]:
    name, colon, value = (part.strip() for part in text.partition(":"))
    if not (name and colon):
        raise argparse.ArgumentTypeError("expected 'NAME: VALUE'")
    # Arguments are stored in the shell's history, and any user of the machine can read them while the command runs.
    if cleaned({"headers": {name: value}})["headers"] == {name: REDACTED}:
        raise argparse.ArgumentTypeError(f"{name} looks like a secret: put it into the environment, and use --key-from")
    return name, value
