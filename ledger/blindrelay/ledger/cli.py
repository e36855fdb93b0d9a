"""The command `blindrelay-ledger`."""

from __future__ import annotations

from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line and returns the exit code."""
    raise NotImplementedError(argv)
