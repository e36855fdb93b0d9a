"""Every target. docs/fuzzing.md says why a decoder is not here."""

from __future__ import annotations

from importlib import import_module
from typing import Final

from .target import Target

_MODULES: Final = (
    *("wire", "directories", "histories", "key_rings", "openings"),
    *("records", "requests", "bodies", "models", "responses", "texts"),
)

TARGETS: Final[tuple[Target, ...]] = tuple(
    target for module in _MODULES for target in import_module(f"tests.fuzz.targets.{module}").TARGETS
)
