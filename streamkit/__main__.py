"""`python -m streamkit`: the command, where the folder of scripts is not on the path."""

import sys

from streamkit.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
