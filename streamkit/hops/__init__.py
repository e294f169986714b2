"""Hops: every place where work runs in a task beside the consumer's own. Nothing else in streamkit starts one.

Most are async context managers: leaving one ends its tasks, and what these held open, before control returns. The price is a
switch of tasks for each read, and a queue with the size that is named. Those that give one stream stand left of `|` too, and
`Prefetch`, `ConcurrentMap`, `GroupBy`, `Latest`, `RateLimit` and `FromGenerator` are stages: the stream's own
`async with` then enters and leaves them.

    prefetch        read ahead of the consumer                                     1 task
    tee             all items to each of several consumers                         1 task
    broadcast       all items to consumers that come and go                        1 task
    merge           the items of several, as they come, fairly                     1 task each
    race            several at once; the first with content wins                   1 task each, until one has won
    deadlines       a limit on the wait for content, for any stream                1 task
    rate_limit      no more than so many a second                                  1 task
    from_generator  an async generator function as a step                          1 task
    concurrent_map  an async function with several items at a time, in order       1 task, and 1 for each worker
    converse        turns and tools, as one stream                                 1 task, and 1 for each worker
    group_by        substreams by a key of the items                               1 task; `GroupBy`: and 1 for each group
    latest          work for the newest item only                                  2 tasks
    shared          one upstream answer for equal requests                         1 task, and 1 for each answer
    classify        windows of text classified while the stream is read on         1 task, and 1 for each window
    guarded         the input checked while the answer is read already             2 tasks
    until           a block of code that ends when something else is done          1 task
    Threaded        a stage's heavy items in a thread                              1 thread, for these
    sync            for code that is not async                                     1 thread
    cache           complete answers stored, and replayed for equal requests       none
    fallback        one after the other, until one succeeds                        none
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
