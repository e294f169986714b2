"""A small soak: many streams, many of which are left early, from a server that writes to closed transports."""

from tests.fire.soak import against_server


def test_streams_that_are_left_in_every_way_all_end_and_leave_no_task() -> None:
    ends = against_server("asyncio", number=50, rounds=3, seconds=60, seed=1)
    assert ends.total() == 150
    assert set(ends) >= {"completed", "cancelled", "truncated", "timeout", "task cancelled"}
