"""``python -m bpfast`` is the command ``bpfast``."""

import sys

from bpfast.cli import main

if __name__ == "__main__":
    sys.exit(main())
