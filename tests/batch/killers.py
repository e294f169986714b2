"""Stages that kill the process they run in, and a parent that is killed. Real ones, by SIGKILL."""

import os
import signal
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import streamkit as sk
from streamkit import batch
from streamkit.batch import Progress
from tests.batch.generated import SECRET


@dataclass
class KillOnce(sk.Stage[sk.Event, sk.Event]):
    """Kill this process at the first event after someone has put a file into `folder`; the file is then gone."""

    folder: str

    def feed(self, item: sk.Event) -> Iterable[sk.Event]:
        for name in os.listdir(self.folder):
            os.unlink(os.path.join(self.folder, name))
            os.kill(os.getpid(), signal.SIGKILL)
        return (item,)


@dataclass
class Registered(sk.Stage[sk.Event, sk.Event]):
    """Put a file into `folder` that is named after this process, so that others know that it works."""

    folder: str

    def feed(self, item: sk.Event) -> Iterable[sk.Event]:
        Path(self.folder, str(os.getpid())).touch()
        return (item,)


@dataclass
class KillOn(sk.Stage[sk.Event, sk.Event]):
    """Kill this process at a text with `word` in it."""

    word: str

    def feed(self, item: sk.Event) -> Iterable[sk.Event]:
        if isinstance(item, sk.TextDelta) and self.word in item.text:
            os.kill(os.getpid(), signal.SIGKILL)
        return (item,)


def pipeline(*more: sk.Stage[sk.Event, sk.Event]) -> sk.Pipeline[bytes, sk.Event]:
    made: sk.Pipeline[bytes, sk.Event] = sk.Parse() | sk.Extract()
    for stage in more:
        made = made | stage
    rules = (sk.Rule("codename", phrases=(SECRET,), replacement="[…]"),)
    return made | sk.Moderate(rules) | sk.Accumulate() | sk.Count(counter=len) | sk.Timing()


def main(folder: str, out: str, shards: int, shard: int) -> None:
    """Run a batch, and kill this process after so many shards."""
    left = iter(range(shards))

    def report(progress: Progress) -> None:
        if next(left, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)

    batch.run(Path(folder), pipeline(), out=out, shard=shard, workers=2, progress=report)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
