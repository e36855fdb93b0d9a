"""How a key is named on the wire (spec/protocol.md, section 4.2)."""

from __future__ import annotations

import hashlib

from blindrelay.v1 import labels
from blindrelay.v1.limits import KEY_ID_SIZE


def key_id(config: bytes) -> bytes:
    """The 16-byte key_id: a hash of the exact bytes of the key's KeyConfig."""
    return hashlib.sha256(labels.labelled(labels.KEY_CONFIG, config)).digest()[:KEY_ID_SIZE]
