"""The command ``bpfast``: train, predict, evaluate and inspect from a shell.

``main`` holds the arguments and the exit codes, one file per subcommand does the work, ``story``
holds every sentence that goes to standard output. What is said while something runs, and what goes
wrong, goes to standard error.
"""

from bpfast.cli.main import main

__all__ = ["main"]
