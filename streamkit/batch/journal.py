"""The files of a batch, written by a single process: results, dead letters, then a line of the journal.

    {"streamkit": "batch/1", "inputs": ["recordings"], "shard": 50, "pipeline": "9f…", "version": "0.1.0"}
    {"shard": 0, "digest": "5c…", "content": "08…", "results": 84120, "dead_letters": 0, "inputs": 50, "dead": 0, "ends": {…}}

A line of the journal has the lengths of both files after its shard. Data beyond the last recorded length was written by a process
that was killed before it wrote the line, and is truncated when the batch is resumed. Both files are synced before the line is
written, so this also holds after a power failure. `content` is the digest of the shard's output. The digest of the last shard is
checked on resume; it differs if earlier lines were added or removed.
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
    """Settings that must be unchanged when a batch is resumed. `pipeline` is a digest."""

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
    """A written shard: digests of its inputs and of its output, the lengths of the files after it, and counts."""

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
    """The open files of a batch, as a context manager.

    Entering raises `PipelineError` if another process has them open, if the batch was started with other settings, or if there
    are results without a journal, which are never overwritten.
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
                # Not truncated: another process may be using the files until the lock is acquired.
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
        """Close the files, which releases the lock."""
        files, self._files = self._files, []
        for file in files:
            # Data buffered after a failed write is not in the journal, so it may be lost.
            with suppress(OSError):
                file.close()

    def check(self, shard: Shard) -> None:
        """Raise `PipelineError` if this shard differs from the written shard of the same number."""
        if int(digest_of(shard), 16) != self._digests[shard.number]:
            raise PipelineError(self._other_inputs(f", from {_named(shard)} on"))

    def check_number(self, shards: int) -> None:
        """Raise `PipelineError` if there are fewer shards than were written."""
        if shards < self.shards:
            raise PipelineError(self._other_inputs(": some at the end are gone"))

    def _other_inputs(self, which: str) -> str:
        return (
            f"the inputs are not those that {name_of(self.paths[0])} was begun with{which}; "
            "restart the batch (restart=True, --restart), or write to another file"
        )

    def write(self, shard: Shard, outcome: ShardOutcome) -> None:
        """Write the outcome of the next shard. Raises `RecordingError`, for example if the disk is full."""
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
                    f"{name_of(path)} exists and is no batch that can be resumed: "
                    "replace it (restart=True, --restart), or name another file"
                )

    def _recover(self) -> None:
        results, dead_letters, journal = self._files
        lengths = (0, 0, 0)
        head = journal.readline()
        if not head.endswith(b"\n"):
            # An incomplete head: it is synced before anything else is written, so the batch wrote no results.
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
                "restart the batch (restart=True, --restart), or write to another file"
            )

    def _read_entries(self, journal: IO[bytes]) -> tuple[int, int, int]:
        sizes = [os.fstat(file.fileno()).st_size for file in self._files]
        lengths = before = 0, 0, journal.tell()
        last = ""
        for line in journal:
            entry = _entry(line)
            # Everything after an incomplete or damaged line was not synced, so these shards are run again.
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
                "restart the batch (restart=True, --restart), or write to another file"
            )
        return lengths

    def _count(self, entry: JournalEntry) -> None:
        self.shards += 1
        self.inputs += entry.inputs
        self.dead += entry.dead
        self.ends.update(entry.ends)


def path_of(out: Path) -> Path:
    """Return the path of the journal for these results."""
    return out.with_name(f"{out.name}.journal")


def digest_of(shard: Shard) -> str:
    """Return a digest of the paths and positions of a shard's inputs, not of their content."""
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
    """Lock the file until it is closed. Raises `PipelineError` if another process holds the lock."""
    try:
        if os.name == "nt":
            import msvcrt  # pyright: ignore

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore # pyright: ignore
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise PipelineError(f"{name} is in use: another process runs this batch") from error
