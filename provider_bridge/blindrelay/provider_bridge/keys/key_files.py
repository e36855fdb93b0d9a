"""Key files: 32 bytes in hexadecimal, for their owner alone."""

from __future__ import annotations

import re
from pathlib import Path

from blindrelay.serving import ConfigError, read_secret


def read_key_file(path: Path, what: str, form: re.Pattern[bytes], described: str) -> bytes:
    """The 32-byte seed in a file: what the group of `form` matches, in hexadecimal.

    Raises ConfigError if the file is missing, unreadable, of another form, or open to other users.
    """
    match = form.fullmatch(read_secret(path, what))
    if match is None:
        raise ConfigError(f"{path}: not {described}")
    return bytes.fromhex(match[1].decode("ascii"))
