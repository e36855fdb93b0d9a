"""Secretstreams with a check taken out: the same layout, the same functions, and no defence.

Each class has what `blindrelay.sealing.records` takes from libsodium. They are for doubles alone.
"""

from __future__ import annotations

import hashlib
import os
from typing import Any, Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from nacl.exceptions import CryptoError

_HEADER_SIZE: Final = 24
_MAC_SIZE: Final = 16


class BareState:
    """A stream's key, and how many records it has seen."""

    def __init__(self) -> None:
        self.key = b""
        self.records = 0


class Unauthenticated:
    """Records in order, without authentication: the MAC is 16 zeros, and is not checked."""

    ordered = True

    @classmethod
    def init_push(cls, state: BareState, key: bytes) -> bytes:
        state.key = key
        return os.urandom(_HEADER_SIZE)

    @classmethod
    def init_pull(cls, state: BareState, header: bytes, key: bytes) -> None:
        state.key = key

    @classmethod
    def push(cls, state: BareState, message: bytes, ad: None, tag: int) -> bytes:
        sealed = cls._stream(state, bytes([tag]) + message)
        return sealed + cls.mac(state.key, sealed)

    @classmethod
    def pull(cls, state: BareState, sealed: bytes, ad: None) -> tuple[bytes, int]:
        content, mac = sealed[:-_MAC_SIZE], sealed[-_MAC_SIZE:]
        if not cls.accepts(state.key, content, mac):
            raise CryptoError("a record does not authenticate")
        plain = cls._stream(state, content)
        return plain[1:], plain[0]

    @staticmethod
    def mac(key: bytes, sealed: bytes) -> bytes:
        return bytes(_MAC_SIZE)

    @classmethod
    def accepts(cls, key: bytes, sealed: bytes, mac: bytes) -> bool:
        return True

    @classmethod
    def _stream(cls, state: BareState, content: bytes) -> bytes:
        nonce = bytes(4) + state.records.to_bytes(12, "little")
        if cls.ordered:
            state.records += 1
        encryptor: Any = Cipher(ChaCha20(state.key, nonce), mode=None).encryptor()
        return bytes(encryptor.update(content))


class Unordered(Unauthenticated):
    """Each record authenticates by itself: dropped, repeated and exchanged ones are not noticed."""

    ordered = False

    @staticmethod
    def mac(key: bytes, sealed: bytes) -> bytes:
        return hashlib.blake2b(sealed, key=key, digest_size=_MAC_SIZE).digest()

    @classmethod
    def accepts(cls, key: bytes, sealed: bytes, mac: bytes) -> bool:
        return mac == cls.mac(key, sealed)
