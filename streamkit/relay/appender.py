"""The one task of a process that appends, for all streams that it publishes, in one call to the log."""

import logging
from collections.abc import Sequence
from contextlib import suppress

import anyio

from streamkit.errors import LeaseLost, LogLost
from streamkit.relay.log import Log
from streamkit.relay.publication import Limits, Publication

BACKOFF = (0.05, 1.0)
"""Seconds between two attempts while the log does not answer: the first, and the longest."""
_log = logging.getLogger("streamkit.relay")


class Appender:
    """Appends what the publications have read, and renews their leases."""

    def __init__(self, log: Log, limits: Limits) -> None:
        self.publications: dict[str, Publication] = {}
        self._log = log
        self._limits = limits
        self._dirty: dict[Publication, None] = {}
        self._news = anyio.Event()
        self._looked = 0.0
        self._failures = 0
        self._lock = anyio.Lock()  # an append is not under way twice

    def add(self, publication: Publication) -> None:
        """Append for this one until it is done."""
        if former := self.publications.get(publication.key):
            # Of this process, which was paused; its source may be silent and it would not learn of that.
            former.abandon(LeaseLost("this process has taken over the stream again"))
        self.publications[publication.key] = publication
        self._news.set()  # its heartbeat is due from now on

    def wake(self, publication: Publication) -> None:
        """A publication has something to append."""
        if not self._dirty:
            self._news.set()
        self._dirty[publication] = None

    async def run(self) -> None:
        """Flush until it is cancelled."""
        while True:
            if not self._dirty:
                self._news = anyio.Event()
                with anyio.move_on_after(self._limits.heartbeat / 2 if self.publications else None):
                    await self._news.wait()
            self._add_idle()
            if not self._dirty:
                continue
            # The first event after a pause does not wait, and those that arrive until the next flush travel together.
            answered = await self.flush()
            await anyio.sleep(self._limits.flush)
            if not answered:
                await anyio.sleep(min(BACKOFF[0] * 2**self._failures, BACKOFF[1]))

    def _add_idle(self) -> None:
        now = anyio.current_time()
        if now - self._looked >= self._limits.heartbeat / 4:
            self._looked = now
            self._dirty.update(
                (publication, None) for publication in self.publications.values() if publication.idle(now)
            )

    async def finish(self) -> None:
        """Append what is left, as long as the log answers. Called when nothing is read any more."""
        self._dirty.update((publication, None) for publication in self.publications.values() if publication.pending)
        while self._dirty and await self.flush():
            self._dirty = {publication: None for publication in self._dirty if not publication.refused}

    async def release(self, publications: Sequence[Publication]) -> None:
        """End the leases of these, and append nothing more for them."""
        for publication in publications:
            publication.give_up()
        async with self._lock:  # an append under way would renew the lease
            try:
                for publication in publications:
                    with suppress(LogLost):  # nobody can take it over
                        await self._log.release(publication.key, publication.owner)
            except Exception as error:
                _log.warning("leases are not released, but expire: %s", type(error).__name__)

    async def flush(self) -> bool:
        """Append what there is, once. False if the log did not answer."""
        async with self._lock:
            return await self._flush()

    async def _flush(self) -> bool:
        publications = [publication for publication in self._dirty if not publication.done]
        self._dirty = {}
        answered = await self._append(publications) if publications else True
        for publication in publications:
            if publication.done:
                self._remove(publication)
            elif publication.pending:
                self._dirty[publication] = None
        return answered

    async def _append(self, publications: list[Publication]) -> bool:
        sent_at = anyio.current_time()
        try:
            appends = [publication.take() for publication in publications]
            replies = await self._log.append(appends)
        except Exception as error:
            self._fail(publications, error)
            return False
        for publication, append, reply in zip(publications, appends, replies, strict=True):
            try:
                await publication.acknowledge(append, reply, sent_at)
            except Exception as error:
                self._repeat([publication], error)  # the others need not wait for this one
        self._failures = 0
        return True

    def _fail(self, publications: list[Publication], error: Exception) -> None:
        # Whatever the store raises, the other streams of this process need this task.
        self._failures += 1
        if self._failures == 1:
            _log.warning("the log does not answer: %s", type(error).__name__)
        self._repeat(publications, error)

    def _repeat(self, publications: list[Publication], error: Exception) -> None:
        # What was appended is unknown; the same appends follow.
        now = anyio.current_time()
        for publication in publications:
            publication.expire(now, error)
            if not publication.done:
                self._dirty[publication] = None

    def _remove(self, publication: Publication) -> None:
        if self.publications.get(publication.key) is publication:
            del self.publications[publication.key]
