"""The bridge's identity key on disk: here, or on another machine that only delegates."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from blindrelay.provider_bridge.keys.key_files import read_key_file
from blindrelay.serving.files import write_new
from blindrelay.trust import IdentityKey

_FORM: Final = re.compile(rb"([0-9a-f]{64})\n?")


def load_identity(path: Path) -> IdentityKey:
    """Reads a 32-byte Ed25519 seed, as 64 hexadecimal digits.

    Raises ConfigError if the file is missing, unreadable, not such a key, or open to other users.
    """
    described = "an identity key, which is 64 hexadecimal digits in lower case"
    return IdentityKey.from_seed(read_key_file(path, "identity key", _FORM, described))


def load_or_make_identity(path: Path) -> IdentityKey:
    """As load_identity; if there is no file, a new key is written there first, for its owner alone."""
    if not path.exists():
        write_new(path, IdentityKey.generate().seed.hex() + "\n", "identity key")
    return load_identity(path)
