"""A bridge's identity as text, as clients pin it and a relay's configuration has it (spec, section 4.1)."""

from __future__ import annotations

import base64
import hashlib
from typing import Final

from blindrelay.v1 import labels
from blindrelay.v1.limits import IDENTITY_SIZE

PREFIX: Final = "br1"

_CHECKSUM_SIZE: Final = 3
"""Bytes. With the key's 32 they fill 56 base32 characters. One typing error in 16 million goes unnoticed."""

_TEXT_SIZE: Final = len(PREFIX) + 56


def format_identity(public_key: bytes) -> str:
    """The text that a client pins: ``br1`` and 56 lower-case base32 characters, checksum included."""
    return PREFIX + base64.b32encode(public_key + _checksum(public_key)).decode().lower()


def parse_identity(text: str) -> bytes:
    """The 32-byte Ed25519 public key in an identity's text. Raises ValueError if it is mistyped."""
    if not text.startswith(PREFIX):
        raise ValueError(f"a bridge identity begins with {PREFIX!r}")
    if len(text) != _TEXT_SIZE:
        raise ValueError(f"a bridge identity has {_TEXT_SIZE} characters, not {len(text)}")
    try:
        raw = base64.b32decode(text[len(PREFIX) :].upper())
    except ValueError:  # binascii.Error is one
        raise ValueError("a bridge identity has only the letters a to z and the digits 2 to 7") from None
    public_key, checksum = raw[:IDENTITY_SIZE], raw[IDENTITY_SIZE:]
    if checksum != _checksum(public_key) or text != format_identity(public_key):
        raise ValueError("the bridge identity's checksum is wrong: it is mistyped or cut")
    return public_key


def _checksum(public_key: bytes) -> bytes:
    return hashlib.sha256(labels.labelled(labels.IDENTITY, public_key)).digest()[:_CHECKSUM_SIZE]
