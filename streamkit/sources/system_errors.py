"""Messages of the operating system and of TLS for a failed connection.

aiohttp errors may quote the whole URL, the headers or a proxy's credentials; the underlying system errors contain none of
these.
"""

import os
import ssl


def system_error(error: BaseException) -> OSError | None:
    """Return the underlying error of the operating system or of TLS of an aiohttp error; `None` if there is none."""
    found = getattr(error, "os_error", None) or getattr(error, "certificate_error", None) or error.__cause__
    return found if isinstance(found, OSError) else None


def system_reason(error: Exception) -> str:
    """Return the class of the error and the message of the operating system."""
    system = system_error(error) or (error if isinstance(error, OSError) else None)
    return f"{type(error).__name__}: {_words(system)}" if system and _words(system) else type(error).__name__


def _words(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        # `errno` is an OpenSSL code here, not one of the operating system.
        return str(getattr(error, "verify_message", "") or error.reason or "")
    if error.errno and error.errno > 0:
        return f"[Errno {error.errno}] {os.strerror(error.errno)}"
    # A failed name lookup has a negative `errno`. For several addresses asyncio raises one error without an `errno`.
    return error.strerror or str(error)
