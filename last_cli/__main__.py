"""`python -m last_cli` is the same program as `last`."""

import sys

from last_cli.cli import main

if __name__ == "__main__":
    sys.exit(main())
