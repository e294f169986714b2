"""The end of a connection in the middle of an answer."""

import asyncio
import socket
import struct
import sys

from aiohttp import web


async def hang_up(request: web.Request, *, reset: bool) -> None:
    """Close the connection in the middle of an answer, or reset it; what was written still arrives."""
    transport = request.transport
    if transport is None:
        return
    if reset:
        # An abort drops what is not sent yet, and closing without it would wait for that.
        while transport.get_write_buffer_size() and not transport.is_closing():  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.001)
        # With SO_LINGER of zero seconds, closing sends RST instead of FIN.
        at_once = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        transport.abort()
    else:
        transport.close()
