"""Closes or resets a connection in the middle of a response."""

import asyncio
import socket
import struct
import sys

from aiohttp import web


async def hang_up(request: web.Request, *, reset: bool) -> None:
    """Close the connection, or reset it, in the middle of a response. Data already written is still sent."""
    transport = request.transport
    if transport is None:
        return
    if reset:
        # `abort` discards unsent data, so wait until the buffer is empty.
        while transport.get_write_buffer_size() and not transport.is_closing():  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.001)
        # With SO_LINGER of zero seconds, closing sends RST instead of FIN.
        at_once = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        transport.abort()
    else:
        transport.close()
