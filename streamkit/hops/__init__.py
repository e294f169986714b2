"""Hops: operators that run work in another task than the consumer's. No other code of a pipeline starts a task.

Most are async context managers: leaving one ends its tasks and closes their streams before control returns. A hop costs a
task switch per read, and buffers items in a queue of a given size. A hop that yields one stream can also be used left of `|`.
`Prefetch`, `ConcurrentMap`, `GroupBy`, `Latest`, `RateLimit` and `FromGenerator` are stages: the stream's own `async with`
enters and leaves them.

    prefetch        read ahead of the consumer                                     1 task
    tee             all items to each of several consumers                         1 task
    broadcast       all items to consumers that subscribe at any time              1 task
    merge           the items of several streams in order of arrival, fairly       1 task each
    race            several streams at once; the first with content wins           1 task each, until one has won
    deadlines       a timeout for content, for any stream                          1 task
    rate_limit      a maximum rate of items                                        1 task
    from_generator  an async generator function as a step                          1 task
    concurrent_map  an async function on several items at a time, in order         1 task, and 1 per worker
    converse        turns and tools, as one stream                                 1 task, and 1 per worker
    group_by        substreams by a key of the items                               1 task; `GroupBy`: and 1 per group
    latest          work for the newest item only                                  2 tasks
    shared          one upstream response for equal requests                       1 task, and 1 per response
    classify        windows of text classified while reading continues             1 task, and 1 per window
    guarded         the input checked while the response is already read           2 tasks
    until           a block that is cancelled when something else is done          1 task
    Threaded        a stage's large items in a thread                              1 thread, for these items
    sync            a stream for synchronous code                                  1 thread
    cache           complete responses stored, and replayed for equal requests     none
    fallback        one stream after the other, until one succeeds                 none
"""

from streamkit.hops.caching import AnswerCache, CachedAnswer, cache
from streamkit.hops.channel import Branch
from streamkit.hops.classify import Classified, classify
from streamkit.hops.concurrent_map import concurrent_map
from streamkit.hops.converse import converse
from streamkit.hops.fallback import fallback
from streamkit.hops.groups import Group, Groups, group_by
from streamkit.hops.guarded import Guarded, guarded
from streamkit.hops.latest import latest
from streamkit.hops.merge import merge
from streamkit.hops.pace import deadlines, rate_limit
from streamkit.hops.race import race
from streamkit.hops.sharing import Share, SharedAnswers, shared
from streamkit.hops.stages import ConcurrentMap, FromGenerator, GroupBy, Latest, Prefetch, RateLimit
from streamkit.hops.stores import AnswerStore, FolderStore, MemoryStore
from streamkit.hops.synchronous import Synchronous, sync
from streamkit.hops.tasks import until
from streamkit.hops.tee import Broadcast, broadcast, from_generator, prefetch, tee
from streamkit.hops.threaded import Threaded

__all__ = [
    "AnswerCache",
    "AnswerStore",
    "Branch",
    "Broadcast",
    "CachedAnswer",
    "Classified",
    "ConcurrentMap",
    "FolderStore",
    "FromGenerator",
    "Group",
    "GroupBy",
    "Groups",
    "Guarded",
    "Latest",
    "MemoryStore",
    "Prefetch",
    "RateLimit",
    "Share",
    "SharedAnswers",
    "Synchronous",
    "Threaded",
    "broadcast",
    "cache",
    "classify",
    "concurrent_map",
    "converse",
    "deadlines",
    "fallback",
    "from_generator",
    "group_by",
    "guarded",
    "latest",
    "merge",
    "prefetch",
    "race",
    "rate_limit",
    "shared",
    "sync",
    "tee",
    "until",
]
