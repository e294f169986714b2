"""A replay returns the recorded pieces, without waiting or at a pace, and its clock is that of the recording."""

import gzip
from io import BytesIO
from pathlib import Path

import anyio
import pytest

from streamkit import Extract, Parse, PipelineError, StreamEnd, TextDelta, replay
from streamkit.errors import LimitExceeded, ProtocolError, RecordingError
from streamkit.sources import recording as recording_module
from streamkit.sources import replay as module

SSE = 'data: {"choices":[{"delta":{"content":"Größe"}}]}\n\ndata: [DONE]\n\n'
# The boundary of the second and third piece is inside the ö.
RECORDING = (
    '{"streamkit": "recording/1", "url": "https://example.org/v1/chat/completions"}\n'
    '{"t": 0.25, "text": "data: {\\"choices\\":[{\\"delta\\":"}\n'
    '{"t": 0.5, "b64": "eyJjb250ZW50IjoiR3LD"}\n'
    '{"t": 0.5, "b64": "tsOfZSJ9fV19"}\n'
    "\n"
    '{"t": 2.5, "text": "\\n\\ndata: [DONE]\\n\\n"}\n'
)
PACKED = gzip.compress(SSE.encode())


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "size.jsonl"
    path.write_text(RECORDING, encoding="utf-8")
    return path


@pytest.mark.anyio
@pytest.mark.parametrize("content", [RECORDING, SSE], ids=["recording", "body"])
async def test_a_gzip_file_is_decompressed(content: str, tmp_path: Path) -> None:
    packed = gzip.compress(content.encode())
    (tmp_path / "size.gz").write_bytes(packed)

    for source in (replay(tmp_path / "size.gz"), replay(BytesIO(packed))):
        assert await (source | Parse() | Extract()).text() == "Größe"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("packed", "reason"),
    [(PACKED[:-9], "ends too early"), (PACKED[:2], "ends too early"), (PACKED[:-8] + b"\xff" * 8, "is damaged")],
    ids=["cut off", "only the signature", "overwritten"],
)
async def test_a_damaged_gzip_file_is_an_error(packed: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "size.gz").write_bytes(packed)

    with pytest.raises(RecordingError, match=f"size.gz can't be read: its gzip data {reason}"):
        await (replay(tmp_path / "size.gz") | Parse() | Extract()).text()


@pytest.mark.anyio
async def test_a_gzip_file_that_unpacks_to_too_much_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording_module, "MAX_BYTES", 1000)
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(b" " * 1001))

    with pytest.raises(LimitExceeded, match="at most 1000 bytes, found more"):
        await (replay(tmp_path / "bomb.gz") | Parse() | Extract()).text()


@pytest.mark.anyio
async def test_the_pieces_are_those_that_were_recorded_with_their_times(recording: Path) -> None:
    source, pieces, times = replay(recording), list[bytes](), list[float]()
    await source.open()

    while piece := await source.read():
        pieces += piece
        times.append(source.now())
    await source.close()

    assert b"".join(pieces) == SSE.encode()
    assert [len(piece) for piece in pieces] == [27, 15, 9, 16]
    assert times == [0.25, 0.5, 0.5, 2.5]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("pace", "waits"),
    [(None, []), (1, [0.25, 0.25, 0.0, 2.0]), (2, [0.125, 0.125, 0.0, 1.0])],
    ids=["without waiting", "as recorded", "twice as fast"],
)
async def test_a_pace_decides_how_long_is_waited(
    recording: Path, pace: float | None, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    slept = list[float]()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await anyio.lowlevel.checkpoint()

    monkeypatch.setattr(module.anyio, "sleep", sleep)
    async with replay(recording, pace=pace) | Parse() | Extract() as stream:
        events = [event async for event in stream]

    assert events == [TextDelta("Größe"), StreamEnd("completed", True, (0,))]
    # It does not wait for data after the end marker.
    assert slept == waits


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["size.sse", "size.txt", "size"])
async def test_any_other_file_is_the_body_itself(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(SSE.encode())

    async with replay(str(path)) | Parse() | Extract() as stream:
        events = [event async for event in stream]

    assert events == [TextDelta("Größe"), StreamEnd("completed", True, (0,))]


@pytest.mark.anyio
@pytest.mark.parametrize("content", [SSE, RECORDING], ids=["a body", "a recording"])
async def test_an_open_file_is_read_to_its_end_and_stays_open(content: str) -> None:
    file = BytesIO(content.encode())

    async with replay(file) | Parse() | Extract() as stream:
        events = [event async for event in stream]

    assert events == [TextDelta("Größe"), StreamEnd("completed", True, (0,))]
    assert (file.closed, file.read()) == (False, b"")


@pytest.mark.anyio
async def test_an_open_file_that_can_not_be_read_is_an_error_when_the_stream_is_opened(recording: Path) -> None:
    with recording.open("rb") as file:
        source = replay(file)
    with pytest.raises(RecordingError, match=r"^the file can't be read: "):
        await source.open()

    assert repr(source) == "<replay of an open file>"


@pytest.mark.anyio
@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        '{"t": "soon", "text": ""}',
        '{"text": "a"}',
        '{"t": 1}',
        '{"t": 1, "b64": "a"}',
        '{"t": 1, "text": 7}',
    ],
)
async def test_a_line_that_is_no_piece_is_an_error_after_the_pieces_before_it(tmp_path: Path, line: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(
        '{"streamkit":"recording/1"}\n'
        '{"t":1,"text":"data: {\\"choices\\":[{\\"delta\\":{\\"content\\":\\"a\\"}}]}\\n\\n"}\n'
        f"{line}\n"
    )

    events = list[object]()
    with pytest.raises(ProtocolError, match=r"^line 3: expected a recorded piece") as caught:
        async with replay(path) | Parse() | Extract() as stream:
            async for event in stream:
                events.append(event)

    assert events == [TextDelta("a")]
    assert caught.value.line == 3


@pytest.mark.parametrize("pace", [0, -1, float("nan")])
def test_a_pace_that_makes_no_sense_is_said_at_once(tmp_path: Path, pace: float) -> None:
    with pytest.raises(PipelineError, match=r"^pace: expected more than 0"):
        replay(tmp_path / "any", pace=pace)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("none.sse", "No such file or directory"),
        (".", "Is a directory"),
        ("a\0b", "its name can't be that of a file"),
        ("x" * 5000, "File name too long"),
    ],
    ids=["missing", "a folder", "no name", "a long name"],
)
async def test_a_file_that_can_not_be_read_is_said_with_its_path_when_the_stream_is_opened(
    name: str, reason: str, tmp_path: Path
) -> None:
    stream = replay(tmp_path / name) | Parse()

    with pytest.raises(RecordingError) as caught:
        await stream.__anext__()

    assert str(caught.value).endswith(f" can't be read: {reason}")
    assert str(tmp_path / name).replace("\0", "\\x00")[-300:] in str(caught.value)
    assert stream.end == StreamEnd("error")


def test_it_is_shown_by_its_name_alone(tmp_path: Path) -> None:
    assert repr(replay(tmp_path / "size.jsonl")) == "<replay of size.jsonl>"
