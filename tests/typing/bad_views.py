"""Type errors: every line marked `# error`, and no other line."""

import streamkit as sk

pipeline = sk.Parse() | sk.Extract()


async def consume(body: bytes) -> None:
    number: int = await pipeline.open(body).text()  # error
    async for call in pipeline.open(body).tool_calls():
        call.upper()  # error
    async for text in pipeline.open(body).texts("content"):  # error
        text.upper()
    async for value in pipeline.open(body).objects(int):
        value.upper()  # error
    _ = number
