"""The files of a new plugin, by path. `$name`, `$module`, `$class` and other names are substituted."""

from collections.abc import Mapping

_PYPROJECT = """\
[build-system]
requires = ["hatchling>=1.26"]
build-backend = "hatchling.build"

[project]
name = "$name"
version = "0.1.0"
description = "$description"
readme = "README.md"
requires-python = ">=3.11"
dependencies = ["streamkit-llm>=$version"]
classifiers = ["Typing :: Typed"]

[project.optional-dependencies]
dev = ["mypy>=1.13", "pyright>=1.1.390", "streamkit-llm[testing]>=$version"]

[project.entry-points."streamkit.$group"]
$name = "$module:$class"

[tool.hatch.build.targets.wheel]
packages = ["src/$module"]

[tool.mypy]
strict = true
files = ["src", "tests"]

[tool.pyright]
typeCheckingMode = "strict"
include = ["src", "tests"]

[tool.pytest.ini_options]
testpaths = ["tests"]
addopts = "--import-mode=importlib"
filterwarnings = ["error"]
"""

STAGE: Mapping[str, str] = {
    "pyproject.toml": _PYPROJECT,
    "README.md": """\
# $name

A stage for [streamkit](https://github.com/streamkit/streamkit) that replaces digits by a mark.

```python
import streamkit as sk
from $module import $class

pipeline = sk.Parse() | sk.Extract() | $class() | sk.Accumulate()
```

In a pipeline file it is `$name`.

```sh
python -m pip install -e '.[dev]'
python -m pytest && mypy && pyright
```
""",
    "src/$module/__init__.py": '''\
"""Replaces digits by a mark."""

from collections.abc import Iterable
from dataclasses import dataclass

from streamkit import Event, Stage, TextDelta

STREAMKIT_API = $api
"""The version of the plugin API that this package was written for."""

__all__ = ["$class"]


@dataclass
class $class(Stage[Event, Event]):
    """Replace every digit of the text by `mark`. All other events pass unchanged."""

    mark: str = "#"

    def feed(self, item: Event) -> Iterable[Event]:
        if not isinstance(item, TextDelta):
            return (item,)
        text = "".join(self.mark if character.isdigit() else character for character in item.text)
        return (TextDelta(text, item.index),)
''',
    "src/$module/py.typed": "",
    "tests/test_$module.py": """\
from hypothesis import given, settings
from streamkit import Event, Finish, StreamEnd, TextDelta
from streamkit.testing import check_stage, strategies

from $module import $class

EVENTS: list[Event] = [TextDelta("Call 12"), TextDelta("3, or "), TextDelta("no"), Finish("stop"), StreamEnd("completed")]


def test_it_keeps_the_laws() -> None:
    check_stage($class(), EVENTS)


def test_digits_are_replaced_by_a_mark() -> None:
    released = [event.text for event in $class("*").run(EVENTS) if isinstance(event, TextDelta)]

    assert released == ["Call **", "*, or ", "no"]


@settings(deadline=None)  # a slow machine must not fail the test
@given(strategies.answers())
def test_no_digit_is_released(events: list[Event]) -> None:
    for event in $class().run(events):
        assert not isinstance(event, TextDelta) or not any(map(str.isdigit, event.text))
""",
}
"""A package with a stage."""

EMITTER: Mapping[str, str] = {
    "pyproject.toml": _PYPROJECT,
    "README.md": """\
# $name

An emitter for [streamkit](https://github.com/streamkit/streamkit): answers of any provider in your own wire format.

```python
from streamkit.sinks.aiohttp import respond

async def handler(request):
    body = await request.json()
    return await respond(request, stream, body=body, emit="$name")
```

Without a sink, use `sk.Emit("$name")`. The events that it writes:

| event | data |
|---|---|
| `start` | `id`, `model` |
| `text`, `reasoning` | `delta` |
| `call` | `id`, `name` |
| `arguments` | `id`, `delta` |
| `called` | `id` |
| `end` | `reason` |
| `error` | `message`, `code` |

```sh
python -m pip install -e '.[dev]'
python -m pytest && mypy && pyright
```
""",
    "src/$module/__init__.py": '''\
"""Encodes an answer as named events with small JSON objects."""

from collections.abc import Container, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import msgspec
from streamkit import Completion
from streamkit.completion import SUCCESSES, Choice, EndReason
from streamkit.emitters.blocks import Block, BlockEmitter
from streamkit.emitters.emitter import Frame
from streamkit.emitters.failures import ErrorFrame, Failure, failure_at_end
from streamkit.sse import ServerSentEvent

STREAMKIT_API = $api
"""The version of the plugin API that this package was written for."""

__all__ = ["$class"]


@dataclass
class $class(BlockEmitter):
    """The events of one answer, from `start` to `end` or `error`. Blocks follow one another and never interleave."""

    id_prefix: ClassVar[str] = "answer-"

    def opening(self) -> Iterable[Frame]:
        return [_event("start", id=self.identity["id"], model=self.identity["model"])]

    def begin(self, block: Block) -> Iterable[Frame]:
        if block.kind != "call":
            return ()
        block.id = self.call_id(block)
        return [_event("call", id=block.id, name=block.name)]

    def write(self, block: Block, piece: str) -> Iterable[Frame]:
        match block.kind:
            case "call":
                return [_event("arguments", id=block.id, delta=piece)]
            case "reasoning":
                return [_event("reasoning", delta=piece)]
            case _:
                return [_event("text", delta=piece)]

    def finish(self, block: Block) -> Iterable[Frame]:
        return [_event("called", id=block.id)] if block.kind == "call" else ()

    def end(self, reason: EndReason) -> Iterable[Frame]:
        frames = self.settle(reason)
        if reason not in SUCCESSES:
            return [*frames, *self.error(failure_at_end(reason))]
        return [*frames, _event("end", reason=reason)]

    def error(self, failure: Failure) -> Iterable[Frame]:
        data = {"message": failure.message, "code": failure.code}
        return [ErrorFrame.with_json(failure, data, "error")]

    def response(self, completion: Completion, withheld: Container[int] | None) -> dict[str, Any]:
        """Return the response for a client that did not request a stream."""
        known = self.identity  # for values that the provider did not send
        choice = completion.choices[0] if completion.choices else Choice(0)
        return {
            "id": completion.id or known["id"],
            "model": completion.model or known["model"],
            "text": choice.text,
            "calls": [{"id": call.id, "name": call.name, "arguments": call.arguments} for call in choice.tool_calls],
        }


def _event(event: str, /, **data: Any) -> Frame:
    return ServerSentEvent(event, msgspec.json.encode(data))
''',
    "src/$module/py.typed": "",
    "tests/test_$module.py": '''\
import json

from hypothesis import given, settings
from streamkit import Emit, Event, Finish, StreamEnd, TextDelta, ToolCallDelta
from streamkit.completion import SUCCESSES
from streamkit.sse import ServerSentEvent
from streamkit.testing import check_emitter, strategies

from $module import $class

EVENTS: list[Event] = [
    TextDelta("Let me "),
    TextDelta("look."),
    ToolCallDelta(0, "call_1", "look", '{"a":'),
    ToolCallDelta(0, arguments="1}"),
    Finish("tool_calls"),
    StreamEnd("tool_calls"),
]


def accepted(frames: list[ServerSentEvent]) -> None:
    """Raise for frames that a client of this format would reject. Replace this function with the client's own schema."""
    called: set[str] = set()
    for number, frame in enumerate(frames):
        data = json.loads(frame.data)
        match frame.event:
            case "start":
                assert number == 0
            case "call":
                called.add(data["id"])
            case "arguments" | "called":
                assert data["id"] in called
            case "end" | "error":
                assert number == len(frames) - 1
            case name:
                assert name in ("text", "reasoning")


def test_it_keeps_the_rules_of_emitters() -> None:
    check_emitter($class, validate=accepted)


def test_a_text_is_followed_by_a_call() -> None:
    frames = Emit("$module:$class", id="1", model="m").run(EVENTS)

    assert [(frame.event, json.loads(frame.data)) for frame in frames] == [
        ("start", {"id": "1", "model": "m"}),
        ("text", {"delta": "Let me "}),
        ("text", {"delta": "look."}),
        ("call", {"id": "call_1", "name": "look"}),
        ("arguments", {"id": "call_1", "delta": '{"a":'}),
        ("arguments", {"id": "call_1", "delta": "1}"}),
        ("called", {"id": "call_1"}),
        ("end", {"reason": "tool_calls"}),
    ]


@settings(deadline=None)  # a slow machine must not fail the test
@given(strategies.answers())
def test_all_text_of_the_first_choice_is_written(events: list[Event]) -> None:
    frames = [*Emit("$module:$class").run(events)]
    end = next((event.reason for event in events if isinstance(event, StreamEnd)), "truncated")
    text = "".join(event.text for event in events if isinstance(event, TextDelta) and event.index == 0)

    assert "".join(json.loads(frame.data)["delta"] for frame in frames if frame.event == "text") == text
    assert frames[-1].event == ("end" if end in SUCCESSES else "error")
''',
}
"""A package with an emitter."""
