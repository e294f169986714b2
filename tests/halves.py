"""All tests in two processes, for two cores: `make test`. Each prints its own summary, with the skips in its last lines.

    python -m tests.halves [pytest's arguments]

With arguments it is pytest itself.
"""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile

HERE = Path(__file__).parent
FIRST = (
    *("core", "dialects", "display", "errors", "fuzz", "hops", "laws", "moderation", "operators", "requests"),
    *("sse", "stages", "structured", "tokens"),
)
"""Folders whose tests compute; those of the second half wait for servers and for other processes as well."""

INTERRUPTED = 130


def main() -> int:
    """Run both halves, print the first as it comes and then the second, and return the greater exit code; 130 after Ctrl-C."""
    command = [sys.executable, "-m", "pytest"]
    if arguments := sys.argv[1:]:
        os.execv(sys.executable, [*command, *arguments])
    first = [str(HERE / name) for name in FIRST]
    ignored = [f"--ignore={path}" for path in first]
    # Two processes must not write one cache.
    with TemporaryFile() as output:
        second = subprocess.Popen(
            [*command, "-p", "no:cacheprovider", *ignored], stdout=output, stderr=subprocess.STDOUT
        )
        try:
            code = subprocess.run([*command, *first], check=False).returncode
            code = max(code, second.wait())
        # Ctrl-C interrupts both halves too, which then end by themselves.
        except KeyboardInterrupt:
            with suppress(KeyboardInterrupt, subprocess.TimeoutExpired):
                second.wait(timeout=10)
            second.kill()
            second.wait()
            return INTERRUPTED
        output.seek(0)
        sys.stdout.buffer.write(output.read())
    return code


if __name__ == "__main__":
    sys.exit(main())
