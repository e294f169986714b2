"""Options of the commands that send a request: address, body, key. A key is never an argument."""

import argparse
import os
import sys
from typing import Any
from urllib.parse import urlsplit

import msgspec

from streamkit.errors import PipelineError
from streamkit.sources.recording import REDACTED, cleaned


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add = parser.add_argument
    add("url", metavar="URL", help="the endpoint, or its base, such as https://api.openai.com/v1")
    add("--key-from", metavar="NAME", help="the environment variable that holds the key; without it none is sent")
    add(
        "--key-header",
        metavar="NAME",
        default="authorization",
        help="the header that carries the key: x-api-key, api-key, …; as it is, but behind `Bearer` in %(default)s",
    )
    add(
        "--header",
        action="append",
        default=[],
        type=_header,
        metavar="'NAME: VALUE'",
        help="another header; repeatable",
    )
    describe_verbose(parser)


def describe_verbose(parser: argparse.ArgumentParser) -> None:
    """Add `--verbose`."""
    parser.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        help="show the provider's own reason of an error, which may quote the prompt",
    )


def headers(options: argparse.Namespace) -> dict[str, str]:
    """The request's headers. `PipelineError` if the key's variable is not set."""
    found = dict(options.header)
    if options.key_from:
        if not (key := os.environ.get(options.key_from)):
            raise PipelineError(f"expected a key in the environment variable {options.key_from}, found none")
        bearer = options.key_header.lower() == "authorization"
        found[options.key_header] = f"Bearer {key}" if bearer else key
    return found


def body(path: str) -> dict[str, Any]:
    """The JSON object in that file, or on standard input if it is `-`. `PipelineError` for anything else."""
    if path == "-":
        content = sys.stdin.buffer.read()
    else:
        with open(path, "rb") as file:
            content = file.read()
    try:
        found: dict[str, Any] = msgspec.json.decode(content, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # What it is may be a prompt, and is not shown.
        raise PipelineError(f"{'standard input' if path == '-' else path}: expected a JSON object") from None
    return found


def body_of(prompt: str, model: str | None, url: str) -> dict[str, Any]:
    """The smallest request with this prompt, in the form that the endpoint takes, known by its path.

    Anthropic's needs `max_tokens` (https://docs.claude.com/en/api/messages); Gemini's has the model in its path.
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
    """Whether it is a method of Gemini's: `…/models/NAME:streamGenerateContent`, which knows neither `model` nor `stream`."""
    return ":" in urlsplit(url).path.rpartition("/")[2]


def _header(text: str) -> tuple[str, str]:
    name, colon, value = (part.strip() for part in text.partition(":"))
    if not (name and colon):
        raise argparse.ArgumentTypeError("expected 'NAME: VALUE'")
    # An argument is in the shell's history, and any user of the machine can read it while the command runs.
    if cleaned({"headers": {name: value}})["headers"] == {name: REDACTED}:
        raise argparse.ArgumentTypeError(
            f"{name} sounds like a secret: put it into the environment, and use --key-from"
        )
    return name, value
