"""How a key is named on the wire (spec/protocol.md, section 4.2)."""

from __future__ import annotations

import hashlib
from typing import Final

from blindrelay.v1.limits import KEY_ID_SIZE

_KEY_CONFIG_LABEL: Final = b"blindrelay/v1 key config"


def key_id(config: bytes) -> bytes:
    """The 16-byte name of a key: a hash of the exact bytes of its KeyConfig."""
    return hashlib.sha256(_KEY_CONFIG_LABEL + b"\x00" + config).digest()[:KEY_ID_SIZE]
