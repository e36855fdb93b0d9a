"""How long the ledger's tests wait for what must happen."""

from __future__ import annotations

from typing import Final

PATIENCE: Final = 60.0
"""Seconds, on a machine with much else to do. Only a failure takes so long."""
