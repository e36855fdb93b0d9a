"""Records: one direction of an exchange, sealed and opened (spec/protocol.md, section 9).

libsodium's secretstream opens any tag and records after the final one. It does not notice a stream that is
cut between two records, and it stays usable after a failure. This module adds those rules.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final, NoReturn

from nacl import bindings
from nacl.exceptions import CryptoError

from blindrelay.sealing.errors import OpenError, SealingError, StateError, TruncatedError, ViolationError
from blindrelay.sealing.padding import RECORD_OVERHEAD
from blindrelay.v1.limits import MAX_SEALED_SIZE

init_push = bindings.crypto_secretstream_xchacha20poly1305_init_push
push = bindings.crypto_secretstream_xchacha20poly1305_push
init_pull = bindings.crypto_secretstream_xchacha20poly1305_init_pull
pull = bindings.crypto_secretstream_xchacha20poly1305_pull
HEADER_SIZE: Final = bindings.crypto_secretstream_xchacha20poly1305_HEADERBYTES
TAG_MESSAGE: Final = bindings.crypto_secretstream_xchacha20poly1305_TAG_MESSAGE
TAG_FINAL: Final = bindings.crypto_secretstream_xchacha20poly1305_TAG_FINAL

_LENGTH_SIZE: Final = 4
_MIN_SEALED_SIZE: Final = RECORD_OVERHEAD


class SecretstreamState(bindings.crypto_secretstream_xchacha20poly1305_state):
    """libsodium's state of 52 bytes, which contain the key. It is overwritten when it is dropped."""

    __slots__ = ()

    def __del__(self) -> None:
        size = len(self.statebuf)
        self.statebuf[0:size] = bytes(size)  # type: ignore[index]  # a cffi array, despite PyNaCl's types


class RecordSealer:
    """Seals the records of one direction in order, up to and including the final one."""

    def __init__(self, key: bytes) -> None:
        self._state: SecretstreamState | None = SecretstreamState()
        # The random header makes every key stream unique, even if a key were used twice.
        self._header = init_push(self._state, key)
        self.sealed_size = 0
        """Bytes of all records so far."""

    def size_of(self, part_size: int) -> int:
        """Bytes of the next record, unpadded, with a part of `part_size` bytes."""
        return len(self._header) + RECORD_OVERHEAD + part_size

    def seal(self, part: bytes, *, zeros: int = 0, final: bool = False) -> bytes:
        """One record: 21 bytes, the part and the zeros. The first also has the 24-byte header of the stream.

        Raises StateError after the final record, or if the record would exceed 69,632 bytes.
        """
        if self._state is None:
            raise StateError("nothing can be sealed after the final record")
        if self.size_of(len(part)) + zeros > MAX_SEALED_SIZE:
            raise StateError("a record holds at most 69,632 bytes")
        plaintext = b"".join((len(part).to_bytes(_LENGTH_SIZE, "big"), part, bytes(zeros)))
        sealed = self._header + push(self._state, plaintext, None, TAG_FINAL if final else TAG_MESSAGE)
        self._header = b""
        self.sealed_size += len(sealed)
        if final:
            self._state = None
        return sealed

    def __repr__(self) -> str:
        return f"<RecordSealer, {self.sealed_size} bytes sealed>"


class RecordOpener:
    """Opens the records of one direction. The first failure is final: every later use raises it again."""

    def __init__(self, key: bytes) -> None:
        self._key: bytes | None = key
        self._state: SecretstreamState | None = None
        self._failure: SealingError | None = None
        self._final_opened = False

    @property
    def finished(self) -> bool:
        """Whether the final record has opened, and nothing has failed."""
        return self._final_opened and self._failure is None

    def open(self, sealed: bytes) -> tuple[bytes, bool]:
        """The part in a record, and whether the record was the final one.

        Raises OpenError if it does not open or comes after the final one, and ViolationError if its
        content is not well formed.
        """
        if self._failure is not None:
            raise self._failure.with_traceback(None)  # its frames would keep earlier plaintext alive
        if self._final_opened or not _MIN_SEALED_SIZE <= len(sealed) <= MAX_SEALED_SIZE:
            self.fail(OpenError())
        plaintext, tag = self._pull(sealed)
        # Compared for equality: PUSH and REKEY are legal in libsodium and mean nothing here.
        if tag not in (TAG_MESSAGE, TAG_FINAL):
            self.fail(ViolationError("a record has a tag that the protocol does not use"))
        part = self._part(plaintext)
        if tag == TAG_FINAL:
            self._state = None
            self._final_opened = True
        return part, self._final_opened

    def close(self) -> None:
        """Tells that the stream has ended. Raises TruncatedError unless the final record has opened."""
        if self._failure is not None:
            raise self._failure.with_traceback(None)  # its frames would keep earlier plaintext alive
        if not self.finished:
            self.fail(TruncatedError())

    def fail(self, error: SealingError) -> NoReturn:
        """Drops the keys and raises the error, now and on every later use."""
        self._key = self._state = None
        self._failure = error
        raise error

    def _pull(self, sealed: bytes) -> tuple[bytes, int]:
        opened: tuple[bytes, int] | None = None
        with suppress(CryptoError, ValueError):  # the OpenError must not carry a cause
            opened = pull(self._state, sealed, None) if self._state else self._pull_first(sealed)
        if opened is None:
            self.fail(OpenError())
        return opened

    def _pull_first(self, sealed: bytes) -> tuple[bytes, int]:
        if self._key is None or len(sealed) < HEADER_SIZE + _MIN_SEALED_SIZE:
            raise ValueError
        self._state = SecretstreamState()
        init_pull(self._state, sealed[:HEADER_SIZE], self._key)
        self._key = None
        return pull(self._state, sealed[HEADER_SIZE:], None)

    def _part(self, plaintext: bytes) -> bytes:
        # It has at least 4 bytes: open() has refused shorter records.
        end = _LENGTH_SIZE + int.from_bytes(plaintext[:_LENGTH_SIZE], "big")
        if end > len(plaintext):
            self.fail(ViolationError("a record is shorter than it says"))
        if plaintext.count(0, end) != len(plaintext) - end:
            self.fail(ViolationError("a record's padding is not zero"))
        return plaintext[_LENGTH_SIZE:end]

    def __repr__(self) -> str:
        state = "failed" if self._failure else "finished" if self.finished else "open"
        return f"<RecordOpener, {state}>"
