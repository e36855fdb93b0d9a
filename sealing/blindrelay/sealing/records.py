"""Records: one direction of an exchange, sealed and opened (spec/protocol.md, section 9).

The STREAM construction (Hoang, Reyhanitabar, Rogaway and Vizár, CRYPTO 2015) over AES-256-GCM. A record's
nonce is its place, and whether it is the final one. A record that was moved, repeated or dropped does not
open.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from blindrelay.sealing.errors import OpenError, SealingError, StateError, TruncatedError, ViolationError
from blindrelay.sealing.padding import RECORD_OVERHEAD
from blindrelay.v1.limits import MAX_DIRECTION_RECORDS, MAX_DIRECTION_SIZE, MAX_SEALED_SIZE

DeriveKey = Callable[[bytes], bytearray]
"""Returns a direction's key, 32 bytes, for the prefix of its first record. A request has no prefix."""

Buffer = bytes | bytearray | memoryview
"""Bytes that may be a view of others."""

_COUNTER_SIZE: Final = 11
_LENGTH_SIZE: Final = 4


class _Cipher:
    """A direction's key, and what it has been used for. It refuses what would pass the limits of AES-GCM."""

    def __init__(self, key: bytearray) -> None:
        self._aead = AESGCM(key)
        key[:] = bytes(len(key))  # freed memory keeps what was in it
        self._records = 0
        self._size = 0

    def seal(self, plaintext: bytes, *, final: bool) -> bytes:
        """Raises StateError at a limit."""
        if self._is_used_up:
            raise StateError("a direction has reached the limits of its key")
        sealed = self._aead.encrypt(self._nonce(final), plaintext, None)
        self._count(sealed)
        return sealed

    def open(self, sealed: Buffer) -> tuple[bytes, bool] | None:
        """The plaintext, and whether it is the final one; None if it does not open.

        Nothing else says whether a record is the final one, so the more frequent case is tried first.
        """
        for final in (False, True) if not self._is_used_up else ():
            try:
                plaintext = self._aead.decrypt(self._nonce(final), sealed, None)
            except InvalidTag:
                continue
            self._count(sealed)
            return plaintext, final
        return None

    @property
    def _is_used_up(self) -> bool:
        return self._records >= MAX_DIRECTION_RECORDS or self._size > MAX_DIRECTION_SIZE - MAX_SEALED_SIZE

    def _nonce(self, final: bool) -> bytes:
        return self._records.to_bytes(_COUNTER_SIZE, "big") + bytes([final])

    def _count(self, sealed: Buffer) -> None:
        self._records += 1
        self._size += len(sealed)


class RecordSealer:
    """Seals the records of one direction, in order, up to and with the final one.

    Args:
        derive_key: gives the direction's key.
        prefix: what travels before the first record, and goes into the key.
    """

    def __init__(self, derive_key: DeriveKey, prefix: bytes = b"") -> None:
        self._cipher: _Cipher | None = _Cipher(derive_key(prefix))
        self._prefix = prefix
        self.sealed_size = 0
        """Bytes of all records so far."""

    def size_of(self, part_size: int) -> int:
        """Bytes that the next record takes, unpadded, for a part of so many bytes."""
        return len(self._prefix) + RECORD_OVERHEAD + part_size

    def seal(self, *part: Buffer, zeros: int = 0, final: bool = False) -> bytes:
        """One record: 20 bytes, the part (in any pieces), the zeros; the prefix is before the first.

        Raises StateError after the final record, for a record over 69,632 bytes, and at the key's limits.
        """
        if self._cipher is None:
            raise StateError("nothing can be sealed after the final record")
        size = sum(map(len, part))
        if self.size_of(size) + zeros > MAX_SEALED_SIZE:
            raise StateError("a record holds at most 69,632 bytes")
        plaintext = b"".join((size.to_bytes(_LENGTH_SIZE, "big"), *part, bytes(zeros)))
        sealed = self._prefix + self._cipher.seal(plaintext, final=final)
        self._prefix = b""
        self.sealed_size += len(sealed)
        if final:
            self._cipher = None
        return sealed

    def __repr__(self) -> str:
        return f"<RecordSealer, {self.sealed_size} bytes sealed>"


class RecordOpener:
    """Opens the records of one direction. The first failure is final: every later call raises it again.

    Args:
        derive_key: gives the direction's key.
        prefix_size: bytes that travel before the first record.
    """

    def __init__(self, derive_key: DeriveKey, prefix_size: int = 0) -> None:
        self._derive_key: DeriveKey | None = derive_key
        self._prefix_size = prefix_size
        self._cipher: _Cipher | None = None
        self._failure: SealingError | None = None
        self._final_opened = False

    @property
    def finished(self) -> bool:
        """Whether the final record has opened, and nothing has failed."""
        return self._final_opened and self._failure is None

    def open(self, sealed: Buffer) -> tuple[memoryview, bool]:
        """The part in a record, not copied, and whether the record was the final one.

        Raises OpenError if it does not open or comes after the final one, and ViolationError if its
        content is not well formed.
        """
        if self._failure is not None:
            raise self._failure.with_traceback(None)  # or its frames would hold what opened before
        opened = None if self._final_opened or len(sealed) > MAX_SEALED_SIZE else self._decrypt(sealed)
        if opened is None:
            self.fail(OpenError())
        plaintext, self._final_opened = opened
        if self._final_opened:
            self._cipher = None
        return self._part(plaintext), self._final_opened

    def close(self) -> None:
        """Tells that the stream has ended. Raises TruncatedError unless the final record has opened."""
        if self._failure is not None:
            raise self._failure.with_traceback(None)  # its frames would keep earlier plaintext alive
        if not self.finished:
            self.fail(TruncatedError())

    def fail(self, error: SealingError) -> NoReturn:
        """Drops the keys and raises the error, now and at every later use."""
        self._derive_key = self._cipher = None
        self._failure = error
        raise error

    def _decrypt(self, sealed: Buffer) -> tuple[bytes, bool] | None:
        if self._derive_key is not None:
            prefix, sealed = sealed[: self._prefix_size], sealed[self._prefix_size :]
            self._cipher = _Cipher(self._derive_key(bytes(prefix)))
            self._derive_key = None
        if self._cipher is None or len(sealed) < RECORD_OVERHEAD:
            return None
        return self._cipher.open(sealed)

    def _part(self, plaintext: bytes) -> memoryview:
        # It has at least 4 bytes: open() has refused shorter records.
        end = _LENGTH_SIZE + int.from_bytes(plaintext[:_LENGTH_SIZE], "big")
        if end > len(plaintext):
            self.fail(ViolationError("a record is shorter than it says"))
        if plaintext.count(0, end) != len(plaintext) - end:
            self.fail(ViolationError("a record's padding is not zero"))
        return memoryview(plaintext)[_LENGTH_SIZE:end]

    def __repr__(self) -> str:
        state = "failed" if self._failure else "finished" if self.finished else "open"
        return f"<RecordOpener, {state}>"
