"""The guarantees of a store of logs, for every store."""

import pytest

from streamkit.relay import Log
from streamkit.testing.logs import LOG_CHECKS, LogCheck, check_log

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("check", LOG_CHECKS.values(), ids=LOG_CHECKS.keys())
async def test_a_store_keeps_the_contract(check: LogCheck, log: Log) -> None:
    await check(log)


async def test_all_checks_run_on_one_store(log: Log) -> None:
    await check_log(log)
