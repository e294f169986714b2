"""Messages of the operating system and of TLS for a connection that failed.

Errors of aiohttp may quote the whole address, the headers or a proxy's credentials; those that they stand for contain none of
these.
"""

import os
import ssl


def system_error(error: BaseException) -> OSError | None:
    """The error of the operating system or of TLS for which one of aiohttp's stands."""
    found = getattr(error, "os_error", None) or getattr(error, "certificate_error", None) or error.__cause__
    return found if isinstance(found, OSError) else None


def system_reason(error: Exception) -> str:
    """The error's class, and what the operating system says."""
    system = system_error(error) or (error if isinstance(error, OSError) else None)
    return f"{type(error).__name__}: {_words(system)}" if system and _words(system) else type(error).__name__


def _words(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        # Its number is one of OpenSSL's.
        return str(getattr(error, "verify_message", "") or error.reason or "")
    if error.errno and error.errno > 0:
        return f"[Errno {error.errno}] {os.strerror(error.errno)}"
    # A name that is not found has a number below 0; for several addresses asyncio makes one error without a number.
    return error.strerror or str(error)
