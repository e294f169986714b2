"""Streams that outlive their connection and their process: a log, its producers, and its viewers.

    from streamkit import relay

    async with relay.Relay(relay.MemoryLog()) as streams:
        await streams.publish("answer-1", lambda: sk.http.post(url, json=body, headers=headers) | pipeline)
        async with streams.follow("answer-1") | sk.Accumulate() as events: ...

`MemoryLog` serves one process; `streamkit_redis.RedisLog`, of the package `streamkit-redis`, any number of them.
"""

from streamkit.relay.chats import Chats
from streamkit.relay.durable import DurableEvents, DurableResponse, DurableStreams
from streamkit.relay.log import (
    Append,
    Appended,
    Claim,
    Claimed,
    Entry,
    EventId,
    Log,
    LogState,
    PackedEntries,
    Page,
    Position,
    Restore,
    Takeover,
)
from streamkit.relay.memory import MemoryLog
from streamkit.relay.publication import Publication
from streamkit.relay.relay import Job, Relay
from streamkit.relay.tail import LogBatch
from streamkit.relay.viewing import Batches, Followed

__all__ = [
    "Append",
    "Appended",
    "Batches",
    "Chats",
    "Claim",
    "Claimed",
    "DurableEvents",
    "DurableResponse",
    "DurableStreams",
    "Entry",
    "EventId",
    "Followed",
    "Job",
    "Log",
    "LogBatch",
    "LogState",
    "MemoryLog",
    "PackedEntries",
    "Page",
    "Position",
    "Publication",
    "Relay",
    "Restore",
    "Takeover",
]
