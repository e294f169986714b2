"""Logs of streamkit's streams on Redis Streams: one store for any number of processes.

from streamkit import relay
from streamkit_redis import RedisLog

async with relay.Relay(RedisLog("redis://localhost:6379/0")) as streams: ...
"""

from streamkit_redis.log import RedisLog

__all__ = ["RedisLog"]
