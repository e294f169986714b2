"""Only complete responses are stored, as recordings, and replayed as streams."""

import contextlib
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

import streamkit as sk
from streamkit import hops, ops
from streamkit.testing import HANG, Scripted, Wait

pytestmark = pytest.mark.anyio


def chunk(text: str = "", finish: str | None = None, index: int = 0) -> bytes:
    choice = {"index": index, "delta": {"content": text} if text else {}, "finish_reason": finish}
    data = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return b"data: " + json.dumps(data).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"
WHOLE = (chunk("Hel"), Wait(0.5), chunk("lo"), chunk(finish="stop"), DONE)
LLM = sk.Parse() | sk.Extract()


class Upstream:
    """Opens scripted responses, and counts the opened sources."""

    def __init__(self, *steps: Any, pipeline: Any = LLM) -> None:
        self.steps = steps
        self.pipeline = pipeline
        self.sources: list[Scripted[Any]] = []

    def __call__(self, request: Any) -> Any:
        self.sources.append(Scripted[Any](*self.steps))
        return self.sources[-1] | self.pipeline

    @property
    def opened(self) -> int:
        return sum(source.opened for source in self.sources)


def same(request: Any) -> Any:
    return request


async def read(source: Any) -> list[Any]:
    return [event async for event in source | ops.Tap(lambda event: None)]


async def test_the_second_request_is_answered_from_the_store_with_the_same_events_and_times() -> None:
    store, upstream = hops.MemoryStore(), Upstream(*WHOLE, pipeline=LLM | sk.Timing())
    answers = hops.cache(store, same, upstream)

    first, second = [await read(answers({"model": "m"})) for _ in range(2)]

    assert second == first
    assert (answers.misses, answers.hits, upstream.opened, len(store)) == (1, 1, 1, 1)
    assert await read(answers({"model": "other"})) == first
    assert upstream.opened == 2


@pytest.mark.parametrize(
    "steps",
    [
        (chunk("Hel"),),
        (chunk("Hel"), sk.errors.Disconnected("gone")),
        (chunk("Hel"), chunk(finish="length"), DONE),
        (chunk("Hel"), chunk(finish="content_filter"), DONE),
        (chunk("Hel"), chunk(finish="who knows"), DONE),
        (chunk("a"), chunk("b", index=1), chunk(finish="stop"), chunk(finish="length", index=1), DONE),
        (b'data: {"error": {"message": "overloaded"}}\n\n',),
        (chunk("Hel"), b"data: {\n\n", chunk(finish="stop"), DONE),
    ],
    ids=["truncated", "broken off", "length", "filtered", "unknown", "one choice cut", "error", "damaged"],
)
async def test_what_is_not_complete_is_never_stored(steps: tuple[Any, ...]) -> None:
    store = hops.MemoryStore()
    answers = hops.cache(store, same, Upstream(*steps, pipeline=sk.Parse() | sk.Extract(malformed="skip")))

    with contextlib.suppress(sk.errors.Disconnected, sk.errors.ProviderError):
        await read(answers("a"))

    assert len(store) == 0


@pytest.mark.parametrize("action", ["block", "stop"])
async def test_a_blocked_answer_is_never_stored(action: Any) -> None:
    store = hops.MemoryStore()
    moderate = sk.Moderate(sk.Rule("greeting", ("hello",), action=action))
    answers = hops.cache(store, same, Upstream(*WHOLE, pipeline=LLM | moderate))

    assert any(isinstance(event, sk.Blocked) for event in await read(answers("a")))

    assert len(store) == 0


async def test_an_answer_that_is_left_early_or_cancelled_is_not_stored() -> None:
    store, upstream = hops.MemoryStore(), Upstream(chunk("Hel"), HANG)
    answers = hops.cache(store, same, upstream)

    async with answers("a") | ops.Coalesce() as events:
        assert await anext(events) is not None
        events.cancel()
        assert [event async for event in events][-1] == sk.StreamEnd("cancelled")

    assert (len(store), upstream.sources[0].closed) == (0, 1)


async def test_a_replay_runs_through_the_pipeline_of_now() -> None:
    store = hops.MemoryStore()
    await read(hops.cache(store, same, Upstream(*WHOLE))("a"))

    moderated = Upstream(pipeline=LLM | sk.Moderate(sk.Rule("greeting", ("hello",), action="redact")))
    events = await read(hops.cache(store, same, moderated)("a"))

    assert "Hello" not in "".join(event.text for event in events if isinstance(event, sk.TextDelta))
    assert moderated.opened == 0


async def test_a_long_answer_is_delivered_and_not_stored() -> None:
    store = hops.MemoryStore()
    answers = hops.cache(store, same, Upstream(*WHOLE), max_bytes=300)

    assert await (answers("a") | ops.Coalesce()).text() == "Hello"
    assert len(store) == 0


class Broken:
    async def get(self, name: str) -> bytes | None:
        raise OSError("disk")

    async def put(self, name: str, recording: bytes) -> None:
        raise OSError("disk")


async def test_a_broken_store_is_logged_and_the_request_is_answered(caplog: pytest.LogCaptureFixture) -> None:
    answers = hops.cache(Broken(), same, Upstream(*WHOLE))

    assert await (answers("a") | ops.Coalesce()).text() == "Hello"
    assert [record.message for record in caplog.records] == [
        "the store of answers could not be read",
        "an answer could not be stored",
    ]


async def test_a_folder_has_recordings_under_names_that_tell_nothing(tmp_path: Path) -> None:
    folder, upstream = tmp_path / "answers", Upstream(*WHOLE)
    answers = hops.cache(hops.FolderStore(folder), same, upstream)
    for _ in range(2):
        assert await (answers("my secret prompt") | ops.Coalesce()).text() == "Hello"

    (file,) = folder.iterdir()
    assert upstream.opened == 1
    assert "secret" not in file.name
    assert b"secret" not in file.read_bytes()
    assert await (sk.replay(file) | LLM).text() == "Hello"

    file.write_bytes(b"damaged")
    assert await (answers("my secret prompt") | ops.Coalesce()).text() == "Hello"
    assert upstream.opened == 2


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "without its end": lambda whole: b"".join(whole.splitlines(keepends=True)[:-1]),
    "cut": lambda whole: whole[: len(whole) // 2],
    "of another version": lambda whole: whole.replace(b"recording/1", b"recording/2"),
    "with an error": lambda whole: whole.rstrip()[:-1].replace(b'"closed"', b'"error"') + b"}\n",
    "with a line that is none": lambda whole: whole.replace(b"\n{", b"\n{nothing}\n{", 1),
    "its first line": lambda whole: whole.partition(b"\n")[0],
    "no recording": lambda whole: b"\x00",
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
async def test_a_damaged_answer_is_not_there_and_is_replaced(
    damage: Callable[[bytes], bytes], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    upstream = Upstream(*WHOLE)
    answers = hops.cache(hops.FolderStore(tmp_path), same, upstream)
    assert await (answers("a") | ops.Coalesce()).text() == "Hello"
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    assert damage(whole) != whole
    file.write_bytes(damage(whole))

    for _ in range(2):
        assert await (answers("a") | ops.Coalesce()).text() == "Hello"

    assert (upstream.opened, answers.misses, answers.hits) == (2, 2, 1)
    assert [record.message for record in caplog.records] == [
        "a stored answer is damaged, or of another version; it counts as not there"
    ]


async def test_a_file_that_a_process_has_left_unfinished_is_removed(tmp_path: Path) -> None:
    store, old, new = hops.FolderStore(tmp_path), tmp_path / "old.part", tmp_path / "new.part"
    for file in (old, new):
        file.write_bytes(b"1")
    os.utime(old, (1, 1))

    await store.put("a", b"1234")

    assert {file.name for file in tmp_path.iterdir()} == {"new.part", "a.jsonl"}


async def test_stores_drop_what_was_not_used_for_longest(tmp_path: Path) -> None:
    stores: Iterable[hops.AnswerStore] = (hops.MemoryStore(10), hops.FolderStore(tmp_path, 10))
    for store in stores:
        for name in "ab":
            await store.put(name, b"1234")
        assert await store.get("a") == b"1234"
        await store.put("c", b"1234")
        assert [await store.get(name) for name in "abc"] == [b"1234", None, b"1234"]
        await store.put("d", b"12345678901")
        assert await store.get("d") is None
        assert await store.get("missing") is None


async def test_shared_and_cached_answers_compose() -> None:
    upstream = Upstream(*WHOLE)
    cached = hops.cache(hops.MemoryStore(), same, upstream)

    async with hops.shared(same, cached) as answers:
        for _ in range(2):
            assert await (answers("a") | ops.Coalesce()).text() == "Hello"

    assert upstream.opened == 1


async def test_what_can_t_be_cached_is_refused() -> None:
    wrong: Any
    for wrong, found in ((None, "NoneType"), ("folder", "str"), (hops.MemoryStore, "MemoryStore")):
        with pytest.raises(
            sk.PipelineError, match=f"store: expected an object with the methods get and put, found .*{found}"
        ):
            hops.cache(wrong, same, Upstream())
    wrong = "model"
    with pytest.raises(sk.PipelineError, match="key: expected a function, found an object of type str"):
        hops.cache(hops.MemoryStore(), wrong, Upstream())
    with pytest.raises(sk.PipelineError, match="open: expected a function, found an object of type str"):
        async with hops.shared(same, wrong):
            pass
    with_hop = hops.cache(hops.MemoryStore(), same, lambda _: Scripted[Any](*WHOLE) | LLM | hops.Prefetch())
    with pytest.raises(sk.PipelineError, match="a stream with a hop can't be cached: put the hop behind it"):
        await read(with_hop("a"))
    none = hops.cache(hops.MemoryStore(), same, lambda _: 5)  # type: ignore[arg-type,return-value] # pyright: ignore[reportArgumentType]
    with pytest.raises(sk.PipelineError, match=r"open: expected a stream \(source \| pipeline\), found"):
        await read(none("a"))
