"""The page on the recordings is what its script gives, and nothing disagrees without a reason."""

import streamkit as sk
from tests.benchmarks.recordings import APIS, HEAD, NOTES, PAGE, REFUSED, table
from tests.conftest import needs_shared
from tests.dialects.streams import read, recordings


@needs_shared
def test_the_page_is_what_the_script_gives() -> None:
    page = PAGE.read_text(encoding="utf-8")

    assert HEAD + page.partition(HEAD)[2] == table() + "\n"


@needs_shared
def test_what_disagrees_has_a_note() -> None:
    rows = {row.split(" | ")[0].removeprefix("| "): row for row in table().splitlines() if "**no**" in row}

    assert rows.keys() == NOTES.keys() | REFUSED.keys()
    assert all(rows[name].count("**no**") == 1 for name in NOTES)


@needs_shared
def test_what_is_refused_is_refused_with_an_error() -> None:
    refused = [recording for recording in recordings(*APIS) if str(recording) in REFUSED]

    assert len(refused) == len(REFUSED)
    assert all(isinstance(read(recording.body).error, sk.errors.ProtocolError) for recording in refused)
