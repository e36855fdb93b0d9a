"""Every target. Where a decoder is not here, docs/fuzzing.md says why."""

from __future__ import annotations

from typing import Final

from .target import Target
from .targets import (
    bodies,
    directories,
    histories,
    key_rings,
    openings,
    records,
    requests,
    responses,
    texts,
    wire,
)

_MODULES: Final = (
    wire,
    directories,
    histories,
    key_rings,
    openings,
    records,
    requests,
    bodies,
    responses,
    texts,
)

TARGETS: Final[tuple[Target, ...]] = tuple(target for module in _MODULES for target in module.TARGETS)
