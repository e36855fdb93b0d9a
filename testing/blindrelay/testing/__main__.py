"""python -m blindrelay.testing: the commands for those who write a client of the protocol."""

from __future__ import annotations

import argparse
import sys

from blindrelay.testing.conformance.cli import add_conformance
from blindrelay.v1.console import run_printing


def main() -> int:
    """Runs a command and returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m blindrelay.testing")
    add_conformance(parser.add_subparsers(required=True, metavar="COMMAND"))

    def work() -> int:
        options = parser.parse_args()
        code: int = options.run(options)
        return code

    return run_printing("blindrelay.testing", work, failed=1)


if __name__ == "__main__":
    sys.exit(main())
