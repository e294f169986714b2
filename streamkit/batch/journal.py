"""The files of a batch, which one process alone writes: results, dead letters, then a line of the journal.

    {"streamkit": "batch/1", "inputs": ["recordings"], "shard": 50, "pipeline": "9f…", "version": "0.1.0"}
    {"shard": 0, "digest": "5c…", "content": "08…", "results": 84120, "dead_letters": 0, "inputs": 50, "dead": 0, "ends": {…}}

A line of the journal has the lengths of both files when the shard was in them. Whatever they have beyond the last one was
written by a process that was killed before its line, and is cut off when the batch is resumed. Both files are synced before the
line is written, so that this holds after a power failure too. `content` is the digest of what was written for the shard: that of
the last one is checked, and is another one if lines before it were added or removed.
"""

import os
from array import array
from collections import Counter
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import IO

import msgspec

from streamkit.batch.shard import Shard, ShardOutcome
from streamkit.errors import PipelineError, RecordingError
from streamkit.plugins.config_files import name_of, reason_of

VERSION = "batch/1"
_WORDS = {"inputs": "list of inputs", "shard": "shard size", "pipeline": "pipeline", "version": "version of streamkit"}


class JournalSettings(msgspec.Struct, frozen=True):
    """Settings that must be equal when a batch is resumed. `pipeline` is a digest."""

    inputs: tuple[str, ...]
    shard: int
    pipeline: str
    version: str


class _JournalHead(msgspec.Struct):
    streamkit: str
    inputs: tuple[str, ...] = ()
    shard: int = 0
    pipeline: str = ""
    version: str = ""

    @property
    def settings(self) -> JournalSettings:
        return JournalSettings(self.inputs, self.shard, self.pipeline, self.version)


class JournalEntry(msgspec.Struct, frozen=True):
    """A shard that is in the files: digests of its inputs and of what was written, the files' lengths after it, and counts."""

    shard: int
    digest: str
    content: str
    results: int
    dead_letters: int
    inputs: int = 0
    dead: int = 0
    ends: dict[str, int] = {}


_decode_head = msgspec.json.Decoder(_JournalHead).decode
_decode_entry = msgspec.json.Decoder(JournalEntry).decode
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError)


class Journal:
    """The open files. Use it with `with`; another process that has them open raises `PipelineError`.

    A batch of other settings raises `PipelineError`, and so do results without a journal: nothing is ever written over.
    """

    def __init__(self, out: Path, dead_letters: Path, settings: JournalSettings, *, restart: bool = False) -> None:
        self.paths = out, dead_letters, path_of(out)
        self._settings = settings
        self._restart = restart
        self._files: list[IO[bytes]] = []
        self._digests = array("Q")
        self.shards = 0
        self.inputs = self.dead = 0
        self.ends: Counter[str] = Counter()

    def __enter__(self) -> "Journal":
        out, dead_letters, journal = self.paths
        try:
            if not journal.exists():
                self._refuse_other_files(out, dead_letters)
            for path in (out, dead_letters, journal):
                # Neither truncated nor created anew: what is in there counts until the lock is held.
                self._files.append(os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | _BINARY, 0o666), "r+b"))
            lock(self._files[2], name_of(journal))
            self._recover()
        except (OSError, ValueError) as error:
            self.close()
            raise self._unwritable(error) from error
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files; the lock goes with them."""
        files, self._files = self._files, []
        for file in files:
            # What is in a buffer after a failed write can't be written now either, and is not in the journal.
            with suppress(OSError):
                file.close()

    def check(self, shard: Shard) -> None:
        """Raise `PipelineError` if this is not the shard of its number that is in the files already."""
        if int(digest_of(shard), 16) != self._digests[shard.number]:
            raise PipelineError(self._other_inputs(f", from {_named(shard)} on"))

    def check_number(self, shards: int) -> None:
        """Raise `PipelineError` if there are fewer shards than are in the files already."""
        if shards < self.shards:
            raise PipelineError(self._other_inputs(": some at the end are gone"))

    def _other_inputs(self, which: str) -> str:
        return (
            f"the inputs are not those that {name_of(self.paths[0])} was begun with{which}; "
            "restart the batch, or write to another file"
        )

    def write(self, shard: Shard, outcome: ShardOutcome) -> None:
        """Write what became of the next shard. `RecordingError` if the disk is full, for example."""
        try:
            self._write(shard, outcome)
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError | ValueError) -> RecordingError:
        return RecordingError(f"{name_of(self.paths[0])} can't be written: {reason_of(error)}")

    def _write(self, shard: Shard, outcome: ShardOutcome) -> None:
        results, dead_letters, journal = self._files
        for file, content in ((results, outcome.results), (dead_letters, outcome.dead_letters)):
            if content:
                file.write(content)
                _sync(file)
        entry = JournalEntry(
            shard.number,
            digest_of(shard),
            _content(outcome.results, outcome.dead_letters),
            results.tell(),
            dead_letters.tell(),
            len(shard.inputs),
            outcome.dead,
            outcome.ends,
        )
        journal.write(msgspec.json.encode(entry) + b"\n")
        _sync(journal)
        self._count(entry)

    def _refuse_other_files(self, *paths: Path) -> None:
        for path in paths:
            if not self._restart and path.exists() and path.stat().st_size:
                raise PipelineError(
                    f"{name_of(path)} exists and is no batch that can be resumed; restart to replace it, or name another file"
                )

    def _recover(self) -> None:
        results, dead_letters, journal = self._files
        lengths = (0, 0, 0)
        head = journal.readline()
        if not head.endswith(b"\n"):
            # It is synced before anything else is written.
            self._refuse_other_files(*self.paths[:2])
        elif not self._restart:
            self._check_head(head)
            lengths = self._read_entries(journal)
        for file, length in zip((results, dead_letters, journal), lengths, strict=True):
            file.truncate(length)
            file.seek(length)
        if not lengths[2]:
            journal.write(msgspec.json.encode({"streamkit": VERSION, **msgspec.structs.asdict(self._settings)}) + b"\n")
            _sync(journal)

    def _check_head(self, line: bytes) -> None:
        try:
            head = _decode_head(line)
        except _UNREADABLE as error:
            raise PipelineError(f"{name_of(self.paths[2])} is no journal of a batch") from error
        if head.streamkit != VERSION:
            raise PipelineError(f"{name_of(self.paths[2])}: expected {VERSION!r}, found another format")
        pairs = zip(msgspec.structs.asdict(head.settings).items(), msgspec.structs.astuple(self._settings), strict=True)
        if other := [_WORDS[name] for (name, found), expected in pairs if found != expected]:
            raise PipelineError(
                f"{name_of(self.paths[0])} was begun with a different {' and '.join(other)}; "
                "restart the batch, or write to another file"
            )

    def _read_entries(self, journal: IO[bytes]) -> tuple[int, int, int]:
        sizes = [os.fstat(file.fileno()).st_size for file in self._files]
        lengths = before = 0, 0, journal.tell()
        last = ""
        for line in journal:
            entry = _entry(line)
            # The rest of a journal behind a line that is cut or damaged was not synced, and is done again.
            if entry is None or entry.shard != self.shards:
                break
            if entry.results > sizes[0] or entry.dead_letters > sizes[1]:
                break
            self._digests.append(int(entry.digest, 16))
            self._count(entry)
            before, lengths = lengths, (entry.results, entry.dead_letters, lengths[2] + len(line))
            last = entry.content
        written = [_part(*each) for each in zip(self._files[:2], before[:2], lengths[:2], strict=True)]
        if last and _content(*written) != last:
            raise PipelineError(
                f"{name_of(self.paths[0])} or its dead letters were changed since this batch wrote them; "
                "restart the batch, or write to another file"
            )
        return lengths

    def _count(self, entry: JournalEntry) -> None:
        self.shards += 1
        self.inputs += entry.inputs
        self.dead += entry.dead
        self.ends.update(entry.ends)


def path_of(out: Path) -> Path:
    """The journal of these results."""
    return out.with_name(f"{out.name}.journal")


def digest_of(shard: Shard) -> str:
    """Identify the inputs of a shard by their paths and positions, not by their content."""
    digest = blake2b(digest_size=8)
    for found in shard.inputs:
        digest.update(msgspec.json.encode((found.name, found.offset, found.length)))
    return digest.hexdigest()


def _content(*written: bytes) -> str:
    digest = blake2b(digest_size=8)
    for content in written:
        digest.update(content)
    return digest.hexdigest()


def _part(file: IO[bytes], begin: int, end: int) -> bytes:
    file.seek(begin)
    return file.read(end - begin)


def _entry(line: bytes) -> JournalEntry | None:
    if not line.endswith(b"\n"):
        return None
    try:
        entry = _decode_entry(line)
        int(entry.digest, 16)
    except (*_UNREADABLE, ValueError):
        return None
    return entry


def _named(shard: Shard) -> str:
    first = shard.inputs[0]
    return f"{name_of(Path(first.name))}:{first.line}" if first.line else name_of(Path(first.name))


def _sync(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


_BINARY: int = getattr(os, "O_BINARY", 0)


def lock(file: IO[bytes], name: str) -> None:
    """Lock the file for this process, until it is closed. `PipelineError` if another one has the lock."""
    try:
        if os.name == "nt":
            import msvcrt  # pyright: ignore

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore # pyright: ignore
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise PipelineError(f"{name} is in use: another process runs this batch") from error
