"""The official client for Python over every recording; the other clients are read by `make clients`."""

import pytest

from tests.clients import readers
from tests.clients.comparison import Result, Task, compare
from tests.clients.gateway import serve
from tests.clients.page import PAGE, count_row
from tests.clients.reasons import reason_of
from tests.conftest import needs_shared

pytestmark = [pytest.mark.asyncio, needs_shared]


async def read(client: str, tasks: list[Task]) -> list[Task]:
    return [task | {"answer": await readers.read(client, task["url"], task["api"], task["stream"])} for task in tasks]


async def results() -> Result:
    async with serve() as url:
        return await compare("openai", url, read)


# A provider's content may be of another type than OpenAI's.
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
async def test_the_client_reads_each_recording_alike_or_there_is_a_reason_on_the_page() -> None:
    result = await results()
    text = PAGE.read_text(encoding="utf-8")
    rows = text.splitlines()

    assert [found for found in result.differences if reason_of(found) is None] == []
    for found in result.differences:
        reason = reason_of(found)
        assert reason
        (row,) = [row for row in rows if row.endswith(f"| {reason.why} |")]
        recordings, clients = (cell.split(", ") for cell in row.strip("| ").split(" | ")[:2])
        assert found.recording in recordings
        assert "openai" in clients
    assert count_row(result, "").split("|")[3:] == next(
        row.split("|")[3:] for row in rows if row.startswith("| openai |")
    )
    # A comparison that compares nothing would find nothing.
    assert min(result.compared.values()) > 50
