"""The guarantees of a store of logs, for every store."""

import msgspec
import pytest

from streamkit.relay import Log, MemoryLog
from streamkit.relay.log import Append, Claim
from streamkit.testing.logs import LOG_CHECKS, LogCheck, check_log

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("check", LOG_CHECKS.values(), ids=LOG_CHECKS.keys())
async def test_a_store_keeps_the_contract(check: LogCheck, log: Log) -> None:
    await check(log)


async def test_all_checks_run_on_one_store(log: Log) -> None:
    await check_log(log)


async def test_what_resumes_a_stream_is_not_kept_after_its_end(
    log: Log, store: str, request: pytest.FixtureRequest
) -> None:
    claim = Claim(owner="a", lease=60, keep=60, new=True, request=b"the request", checkpoints=True)
    after = (await log.claim("k", claim)).position
    append = Append(key="k", owner="a", after=after, batches=[b"[1]"], lease=60, keep=60)
    with_state = msgspec.structs.replace(append, checkpoint=b"the checkpoint", cursor=b"the cursor")

    def kept() -> set[bytes]:
        if isinstance(log, MemoryLog):
            content = repr(vars(log)).encode()
        else:
            import redis

            with redis.Redis.from_url(request.getfixturevalue("redis_server").url) as client:
                hashes = [key for key in client.scan_iter() if client.type(key) == b"hash"]
                content = b" ".join(value for key in hashes for value in client.hvals(key))
        return {text for text in (b"the request", b"the checkpoint", b"the cursor") if text in content}

    await log.append([with_state])
    assert kept() == {b"the request", b"the checkpoint", b"the cursor"}
    end = msgspec.structs.replace(with_state, after=after.next(), ends=True)
    assert [reply.result for reply in await log.append([end])] == ["appended"]
    assert kept() == set()
