"""AES-GCM with a check taken out: the same sizes, the same methods, and no defence. For doubles alone."""

from __future__ import annotations

from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

_TAG_SIZE: Final = 15
"""One byte less than AES-GCM's: the byte before the plaintext says whether the record is the final one."""


class Unauthenticated:
    """Records in order, without authentication: the tag is zeros, and is not checked."""

    def __init__(self, key: bytearray) -> None:
        self._key = bytes(key)

    def encrypt(self, nonce: bytes, plaintext: bytes, aad: None) -> bytes:
        return self._stream(nonce, nonce[-1:] + plaintext) + bytes(_TAG_SIZE)

    def decrypt(self, nonce: bytes, sealed: bytes, aad: None) -> bytes:
        plaintext = self._stream(nonce, sealed[:-_TAG_SIZE])
        if plaintext[:1] != nonce[-1:]:
            raise InvalidTag
        return plaintext[1:]

    def _stream(self, nonce: bytes, content: bytes) -> bytes:
        encryptor: Any = Cipher(AES(self._key), CTR(nonce[:-1] + bytes(5))).encryptor()
        return bytes(encryptor.update(content))


class Unordered:
    """Each record authenticates by itself: dropped, repeated and exchanged ones are not noticed."""

    def __init__(self, key: bytearray) -> None:
        self._aead = AESGCM(key)

    def encrypt(self, nonce: bytes, plaintext: bytes, aad: None) -> bytes:
        return self._aead.encrypt(_without_place(nonce), plaintext, None)

    def decrypt(self, nonce: bytes, sealed: bytes, aad: None) -> bytes:
        return self._aead.decrypt(_without_place(nonce), sealed, None)


def _without_place(nonce: bytes) -> bytes:
    return bytes(len(nonce) - 1) + nonce[-1:]
