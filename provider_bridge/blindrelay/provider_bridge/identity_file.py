"""The bridge's identity key on disk: the only thing that the bridge keeps there."""

from __future__ import annotations

import os
import re
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from blindrelay.sealing import IdentityKey
from blindrelay.serving import ConfigError, read_bytes

_SEED: Final = re.compile(rb"[0-9a-f]{64}\n?")


def load_identity(path: Path) -> IdentityKey:
    """Reads a 32-byte Ed25519 seed, as 64 hexadecimal digits.

    Raises ConfigError if the file is missing, unreadable, not such a key, or open to other users.
    """
    text = read_bytes(path, "identity key")
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise ConfigError(f"{path}: the identity key can be read by others; run chmod 600 on it")
    if not _SEED.fullmatch(text):
        raise ConfigError(f"{path}: not an identity key, which is 64 hexadecimal digits in lower case")
    return IdentityKey.from_seed(bytes.fromhex(text.decode("ascii")))


def load_or_make_identity(path: Path) -> IdentityKey:
    """As load_identity; if there is no file, a new key is written there first, for its owner alone."""
    if not path.exists():
        try:
            _write_new(path, IdentityKey.generate().seed.hex() + "\n")
        except OSError as error:
            raise ConfigError(f"{path}: the identity key cannot be written ({error.strerror})") from None
    return load_identity(path)


def _write_new(path: Path, text: str) -> None:
    """Writes a file that was not there, whole or not at all; one that was made meanwhile stays."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            path.hardlink_to(draft)
    finally:
        draft.unlink()
