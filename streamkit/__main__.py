"""`python -m streamkit`: the command line, for environments whose scripts folder is not on the path."""

import sys

from streamkit.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
