"""Key files: the identity key, and the signing key of a replica that runs without it.

Each holds a 32-byte Ed25519 seed in hexadecimal, readable by its owner alone. A signing key begins with
"brs_" and an identity key has no prefix, so neither is taken for the other.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from blindrelay.serving import ConfigError, read_secret
from blindrelay.serving.files import write_new
from blindrelay.trust import DirectorySigner, IdentityKey

_SEED_SIZE: Final = 32
_PREFIX: Final = "brs_"
_IDENTITY_FORM: Final = re.compile(rb"([0-9a-f]{64})\n?")
_SIGNING_FORM: Final = re.compile(rb"brs_([0-9a-f]{64})\n?")
_PUBLIC_FORM: Final = re.compile(r"brv_([0-9a-f]{64})")


def load_identity(path: Path) -> IdentityKey:
    """Reads an identity key: 64 hexadecimal digits.

    Raises ConfigError if the file is missing, unreadable, malformed or open to other users.
    """
    described = "an identity key, which is 64 hexadecimal digits in lower case"
    return IdentityKey.from_seed(_read_seed(path, "identity key", _IDENTITY_FORM, described))


def load_or_make_identity(path: Path) -> IdentityKey:
    """As load_identity, but a missing file is first written with a new key, for its owner alone."""
    if not path.exists():
        write_new(path, IdentityKey.generate().seed.hex() + "\n", "identity key")
    return load_identity(path)


def make_signing_key(path: Path) -> DirectorySigner:
    """Writes a new signing key, for its owner alone. Raises ConfigError if the file exists."""
    seed = f"{_PREFIX}{os.urandom(_SEED_SIZE).hex()}\n"
    # Looked at before, so that an existing file is named as the reason in a folder that cannot be written.
    if path.exists() or not write_new(path, seed, "signing key"):
        raise ConfigError(f"{path}: the file exists already; a signing key never replaces one")
    return load_signing_key(path)


def load_signing_key(path: Path) -> DirectorySigner:
    """Reads a signing key: "brs_" and 64 hexadecimal digits. Raises ConfigError as load_identity does."""
    described = "a signing key, which is brs_ and 64 hexadecimal digits, as `signing-key` writes it"
    return DirectorySigner(_read_seed(path, "signing key", _SIGNING_FORM, described))


def format_public_key(public_key: bytes) -> str:
    """The text of a public signing key (32 bytes): "brv_" and 64 hexadecimal digits."""
    return f"brv_{public_key.hex()}"


def parse_public_key(text: str) -> bytes:
    """The 32 bytes of a public signing key's text. Raises ConfigError, without quoting the text."""
    match = _PUBLIC_FORM.fullmatch(text)
    if match is None:
        raise ConfigError(
            "not a public signing key, which is brv_ and 64 hexadecimal digits, as `signing-key` prints it"
        )
    return bytes.fromhex(match[1])


def _read_seed(path: Path, what: str, form: re.Pattern[bytes], described: str) -> bytes:
    match = form.fullmatch(read_secret(path, what))
    if match is None:
        raise ConfigError(f"{path}: not {described}")
    return bytes.fromhex(match[1].decode("ascii"))
