"""The token that commands and pages show to the admin service."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from blindrelay.serving import read_token
from blindrelay.serving.files import write_new
from blindrelay.serving.tokens import new_token

ACTOR_KEY: Final = "blindrelay-actor"
"""Metadata: who calls, for the audit log. Anyone who has the admin token may write what they like."""


def load_or_make_admin_token(path: Path) -> str:
    """The token in the file. Makes it (0600) if there is none. Raises ConfigError."""
    if not path.exists():
        write_new(path, new_token()[0] + "\n", "admin token")
    return read_token(path)
