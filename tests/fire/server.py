"""A server that misbehaves, one way for each path, on a raw socket so that nothing is put right behind its back."""

import asyncio
import gzip
import socket
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias

Misbehaviour: TypeAlias = Callable[[asyncio.StreamWriter], Awaitable[None]]

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n"
TEXT = b'data: {"id":"c1","choices":[{"index":0,"delta":{"content":"Hello"}}]}\n\n'
SNOW = 'data: {"id":"c1","choices":[{"index":0,"delta":{"content":"☃"}}]}\n\n'.encode()
FINISH = b'data: {"id":"c1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"


def body(*pieces: bytes, head: bytes = HEAD) -> Misbehaviour:
    """Send the head and the pieces, and close properly."""

    async def send(writer: asyncio.StreamWriter) -> None:
        writer.write(head + b"\r\n")
        for piece in pieces:
            writer.write(piece)
            await writer.drain()

    return send


def then_reset(*pieces: bytes, head: bytes = HEAD) -> Misbehaviour:
    """Send, and then break the connection off with a TCP reset."""

    async def send(writer: asyncio.StreamWriter) -> None:
        await body(*pieces, head=head)(writer)
        # SO_LINGER of zero seconds: closing sends RST instead of FIN.
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    return send


def then_silence(*pieces: bytes, head: bytes = HEAD) -> Misbehaviour:
    """Send, and then nothing any more, with the connection open."""

    async def send(writer: asyncio.StreamWriter) -> None:
        await body(*pieces, head=head)(writer)
        await asyncio.Event().wait()

    return send


def over_and_over(piece: bytes, *before: bytes) -> Misbehaviour:
    """Send the same piece for ever, as fast as it is taken."""

    async def send(writer: asyncio.StreamWriter) -> None:
        await body(*before)(writer)
        while True:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)

    return send


def drip(content: bytes) -> Misbehaviour:
    """One byte at a time, each in a packet of its own."""

    async def send(writer: asyncio.StreamWriter) -> None:
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await body()(writer)
        for at in range(len(content)):
            writer.write(content[at : at + 1])
            await writer.drain()
            await asyncio.sleep(0)

    return send


def pinging(*before: bytes) -> Misbehaviour:
    """Keep-alive comments for ever, a little apart."""

    async def send(writer: asyncio.StreamWriter) -> None:
        await body(*before)(writer)
        while True:
            writer.write(b": ping\n\n")
            await writer.drain()
            await asyncio.sleep(0.005)

    return send


async def no_answer(writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def closed_without_answer(writer: asyncio.StreamWriter) -> None:
    writer.close()


async def not_http(writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 mail.example ESMTP\r\n")
    await writer.drain()


GZIPPED = gzip.compress(TEXT * 50 + FINISH + DONE)
JSON_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n"


def status(code: int, *more: bytes) -> Misbehaviour:
    content = b'{"error":{"message":"no"}}'
    head = b"HTTP/1.1 %d No\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n" % (
        code,
        len(content),
    )
    return body(content, head=head + b"".join(more))


@asynccontextmanager
async def serve(paths: dict[str, Misbehaviour]) -> AsyncGenerator[tuple[str, set[asyncio.Task[None]]], None]:
    """The server's address, and the connections that are open now; the tests see them end."""
    open_now: set[asyncio.Task[None]] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        open_now.add(task)
        try:
            request = await reader.readuntil(b"\r\n\r\n")
            name = request.split(b" ", 2)[1].decode().removeprefix("/")
            watch = asyncio.ensure_future(reader.read())
            work = asyncio.ensure_future(paths[name](writer))
            # A client that leaves ends its connection, also where the misbehaviour would go on for ever.
            await asyncio.wait([watch, work], return_when=asyncio.FIRST_COMPLETED)
            for each in (watch, work):
                each.cancel()
            await asyncio.gather(watch, work, return_exceptions=True)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client left, or the test is over
        finally:
            open_now.discard(task)
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, limit=2**20)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", open_now
    finally:
        server.close()
        for task in list(open_now):
            task.cancel()
        await asyncio.gather(*open_now, return_exceptions=True)
