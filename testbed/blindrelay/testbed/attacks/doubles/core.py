"""Doubles of the sealed core, at both ends: records, keys, binding, encapsulation."""

from __future__ import annotations

import hashlib
import os
from contextlib import AbstractContextManager
from types import SimpleNamespace
from typing import Final
from unittest.mock import patch

from blindrelay.sealing import encapsulation, records
from blindrelay.testbed.attacks.doubles.bare_ciphers import Unauthenticated, Unordered
from blindrelay.v1.limits import ENCAPSULATED_SECRET_SIZE

KNOWN_KEY: Final = bytes(32)
"""What every direction is sealed under where keys are not drawn for each exchange."""


def without_authentication() -> AbstractContextManager[object]:
    """Records are encrypted, and not authenticated."""
    return patch.object(records, "AESGCM", Unauthenticated)


def without_order() -> AbstractContextManager[object]:
    """Each record authenticates by itself, wherever it stands."""
    return patch.object(records, "AESGCM", Unordered)


def without_padding_check() -> AbstractContextManager[object]:
    """What follows a record's part is not looked at."""
    return patch.object(
        records.RecordOpener, "_part", lambda _, plain: plain[4 : 4 + int.from_bytes(plain[:4], "big")]
    )


def without_exchange_keys() -> AbstractContextManager[object]:
    """All exchanges have the same keys, which everybody knows."""
    return patch.object(encapsulation, "_derive", lambda *_: bytearray(KNOWN_KEY))


def without_response_nonce() -> AbstractContextManager[object]:
    """The response's nonce is sent, and goes into no key."""
    derive = encapsulation._derive
    return patch.object(
        encapsulation, "_derive", lambda secret, label, bound, nonce: derive(secret, label, bound, b"")
    )


def without_binding() -> AbstractContextManager[object]:
    """The envelope's hash is the same for every envelope."""
    constant = SimpleNamespace(sha256=lambda envelope: hashlib.sha256(b""))
    return patch.object(encapsulation, "hashlib", constant)


def without_encapsulation() -> AbstractContextManager[object]:
    """The secret travels in clear, and nothing around it is checked."""
    return patch.object(encapsulation, "_SUITE", _ClearSuite())


class _ClearSuite:
    """An HPKE that encapsulates nothing: the secret where the sealed one would be, random bytes around it."""

    _before: Final = ENCAPSULATED_SECRET_SIZE - 48

    def encrypt(self, secret: bytes, public_key: object, info: bytes) -> bytes:
        return os.urandom(self._before) + secret + os.urandom(16)

    def decrypt(self, sealed: bytes, private_key: object, info: bytes) -> bytes:
        return sealed[self._before : self._before + 32]
