"""The page on the recordings is what its script gives, and nothing disagrees without a reason."""

from tests.benchmarks.recordings import HEAD, NOTES, PAGE, table
from tests.conftest import needs_shared


@needs_shared
def test_the_page_is_what_the_script_gives() -> None:
    page = PAGE.read_text(encoding="utf-8")

    assert HEAD + page.partition(HEAD)[2] == table() + "\n"


@needs_shared
def test_what_disagrees_has_a_note() -> None:
    rows = [row for row in table().splitlines() if "**no**" in row]

    assert {row.split(" | ")[0].removeprefix("| ") for row in rows} == NOTES.keys()
    assert all(row.count("**no**") == 1 and row.endswith("| **no** |") for row in rows)
