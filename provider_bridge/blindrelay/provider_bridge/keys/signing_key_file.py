"""A replica's signing key on disk, for a replica that runs without the identity key.

Its file begins with "brs_", so that neither key is ever taken for the other (an identity key has no prefix).
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from blindrelay.provider_bridge.keys.key_files import read_key_file
from blindrelay.serving import ConfigError
from blindrelay.serving.files import write_new
from blindrelay.trust import DirectorySigner

_SEED_SIZE: Final = 32
_PREFIX: Final = "brs_"
_FORM: Final = re.compile(rb"brs_([0-9a-f]{64})\n?")
_PUBLIC_FORM: Final = re.compile(r"brv_([0-9a-f]{64})")


def make_signing_key(path: Path) -> DirectorySigner:
    """Writes a new key, for its owner alone. Raises ConfigError if there is a file already."""
    if path.exists():
        raise ConfigError(f"{path}: there is a file already; a signing key never replaces one")
    write_new(path, f"{_PREFIX}{os.urandom(_SEED_SIZE).hex()}\n", "signing key")
    return load_signing_key(path)


def load_signing_key(path: Path) -> DirectorySigner:
    """Reads a 32-byte Ed25519 seed: "brs_" and 64 hexadecimal digits.

    Raises ConfigError if the file is missing, unreadable, not such a key, or open to other users.
    """
    described = "a signing key, which is brs_ and 64 hexadecimal digits, as `signing-key` writes it"
    return DirectorySigner(read_key_file(path, "signing key", _FORM, described))


def format_public_key(public_key: bytes) -> str:
    """The text of a public signing key (32 bytes): "brv_" and 64 hexadecimal digits."""
    return f"brv_{public_key.hex()}"


def parse_public_key(text: str) -> bytes:
    """The 32 bytes of a public signing key's text. Raises ConfigError, and does not quote it."""
    match = _PUBLIC_FORM.fullmatch(text)
    if match is None:
        raise ConfigError(
            "not a public signing key, which is brv_ and 64 hexadecimal digits, as `signing-key` prints it"
        )
    return bytes.fromhex(match[1])
