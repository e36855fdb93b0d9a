"""What a process that must not leave traces does first."""

from __future__ import annotations

import os
import resource
from typing import Final

_OWNER_ONLY: Final = 0o077


def leave_no_traces() -> None:
    """No core dumps, whatever the shell allows, and files for nobody else: memory holds tokens and keys."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.umask(_OWNER_ONLY)
