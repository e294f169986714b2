"""The text of an answer over time, streamed and not, as SVG: OpenAI's guide's requests to the embedded provider, measured.

python -m tests.docs.site.timeline docs/assets/streaming.svg
"""

import asyncio
import sys

import streamkit as sk
from streamkit.cli.demo import COUNT_TO_100, GO_ON
from streamkit.cli.provider import Provider, serve


async def draw(target: str) -> None:
    """Measure, draw, and print the table."""
    async with serve(Provider()) as url:
        compared = await sk.display.compare(f"{url}/v1", COUNT_TO_100.body, GO_ON.body)
    compared.save(target)
    print(compared)


if __name__ == "__main__":
    asyncio.run(draw(sys.argv[1]))
