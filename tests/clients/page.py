"""docs/reference/clients.md: how many recordings each client reads alike, and why it reads the others differently."""

from collections.abc import Sequence
from pathlib import Path

from tests.clients.comparison import Difference, Result
from tests.clients.reasons import REASONS, Reason, reason_of

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "clients.md"
INTRODUCTION = """\
# How OpenAI's clients read what is written

Each recording of a model's answer is served over HTTP by `sinks.aiohttp.respond`, and read by the official clients: `openai` for
Python and for npm by their `.stream()` helpers, `langchain-openai` by `astream`, `litellm` by `acompletion`, Vercel's `ai` by
`streamText`. What a client makes of it (text, reasoning, refusal, calls with their ids, finish reasons, citations, usage, error)
is put beside what it makes of

- the provider's own stream, byte for byte, where that is one of OpenAI's APIs;
- the same answer requested without `stream`, of every provider.

Where the two differ, the client misreads or refuses the provider's own stream, or it reads less from any stream than from a whole
answer. Fields that OpenAI's API does not have (`x_groq`, `timings`,
`provider`, `reasoning_details`) are not compared and not written; reasoning is `reasoning_content`, whatever its name was.

Made by `make clients ARGS=--write`. `make clients` holds the page to what the clients do, `make test` its part of `openai` for
Python.
"""


def page(results: Sequence[Result], versions: dict[str, str]) -> str:
    """The whole page."""
    lines = [
        INTRODUCTION,
        "| client | version | equal to the provider's stream | equal to the whole answer |",
        "|---|---|---|---|",
    ]
    lines += [count_row(result, versions[result.client]) for result in results]
    differences = [difference for result in results for difference in result.differences]
    for against, title in (
        ("raw", "Different from the provider's stream"),
        ("whole", "Different from the whole answer"),
    ):
        lines += ["", f"## {title}", "", "| recordings | clients | what | why |", "|---|---|---|---|"]
        lines += [row for reason in REASONS[against] if (row := reason_row(reason, against, differences))]
    return "\n".join(lines) + "\n"


def count_row(result: Result, version: str) -> str:
    """How many recordings a client reads alike."""
    counts = []
    for against, total in result.compared.items():
        unlike = {found.recording for found in result.differences if found.against == against}
        counts.append(f"{total - len(unlike)} of {total}")
    return f"| {result.client} | {version} | {' | '.join(counts)} |"


def reason_row(reason: Reason, against: str, differences: Sequence[Difference]) -> str:
    """The differences that a reason explains; empty for none."""
    found = [
        difference for difference in differences if difference.against == against and reason_of(difference) is reason
    ]
    if not found:
        return ""
    recordings, clients, fields = (
        ", ".join(sorted({getattr(difference, name) for difference in found}))
        for name in ("recording", "client", "field")
    )
    return f"| {recordings} | {clients} | {fields} | {reason.why} |"
