"""Signs a replica's directories with a key that the identity delegates to (spec/protocol.md, section 4.1)."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from blindrelay.provider_bridge.audit_log import Event
from blindrelay.provider_bridge.clock import Clock
from blindrelay.provider_bridge.countdown import Countdown
from blindrelay.provider_bridge.keys.delegation_file import (
    DAY,
    DelegationFile,
    check_delegation,
    read_delegation,
)
from blindrelay.provider_bridge.keys.key_files import load_signing_key
from blindrelay.serving import ConfigError
from blindrelay.serving.files import Followed, version
from blindrelay.trust import DirectorySigner, IdentityKey, SignedDelegation
from blindrelay.v1.keys_pb2 import KeyDirectory, SignedKeyDirectory

_WARNINGS: Final = (
    (0, Event.DELEGATION_ENDED),
    (DAY, Event.DELEGATION_ENDS_IN_A_DAY),
    (7 * DAY, Event.DELEGATION_ENDS_IN_A_WEEK),
)


class Signatory(Protocol):
    """Signs for an identity, as long as its delegation lasts."""

    @property
    def identity(self) -> bytes:
        """The identity, 32 bytes."""

    @property
    def next_identity_hash(self) -> bytes:
        """The hash of the identity that is announced as the next one (annex C): 32 bytes, or none."""

    def ends_at(self) -> float:
        """Unix seconds: no directory may last longer. Infinite if the identity key is here."""

    def look_after(self) -> None:
        """Called every few seconds: reads a changed file, and warns before the end."""

    def sign(self, directory: KeyDirectory) -> SignedKeyDirectory:
        """The directory's exact bytes, signed, with the delegation."""

    def for_bills(self, now: int) -> tuple[DirectorySigner, SignedDelegation]:
        """The key that signs receipts at `now` (Unix seconds), and the delegation that allows it."""


class HeldIdentity:
    """The identity key is here.

    Each directory has a delegation of its own that ends with it. The signing key is never stored.
    """

    def __init__(self, key: IdentityKey, next_identity_hash: bytes = b"") -> None:
        self._key = key
        self.next_identity_hash = next_identity_hash
        self._signer = DirectorySigner.generate()
        self._for_bills = SignedDelegation(b"", b"")
        self._renew_at = 0

    @property
    def identity(self) -> bytes:
        return self._key.public_key

    def ends_at(self) -> float:
        return math.inf

    def look_after(self) -> None:
        pass

    def sign(self, directory: KeyDirectory) -> SignedKeyDirectory:
        delegation = self._key.delegate(
            self._signer.public_key, directory.issued_at, directory.expires_at, self.next_identity_hash
        )
        return self._signer.sign(directory, delegation)

    def for_bills(self, now: int) -> tuple[DirectorySigner, SignedDelegation]:
        if now >= self._renew_at:
            self._renew_at = now + DAY
            ends = self._renew_at + DAY
            self._for_bills = self._key.delegate(self._signer.public_key, now, ends, self.next_identity_hash)
        return self._signer, self._for_bills


class DelegatedIdentity:
    """The identity key is elsewhere. Its delegation is in a file, which is read again when it changes.

    While a new file is wrong or unreadable, the old delegation stays in force. `note` is called with each
    event.
    """

    def __init__(
        self,
        signing_key: Path,
        delegation: Path,
        clock: Clock,
        note: Callable[[Event], None] = lambda _: None,
    ) -> None:
        """Raises ConfigError if a file is missing or wrong, or if clients would refuse the delegation now."""
        self._signer = load_signing_key(signing_key)
        self._path = delegation
        self._clock = clock
        self._note = note
        self._file = Followed(lambda: version(delegation), self._load)
        self._found = self._file.first
        self._countdown = Countdown(note, _WARNINGS)

    @property
    def identity(self) -> bytes:
        return self._found.identity

    @property
    def next_identity_hash(self) -> bytes:
        return self._found.next_identity_hash

    def ends_at(self) -> float:
        self.look_after()
        return self._found.not_after

    def sign(self, directory: KeyDirectory) -> SignedKeyDirectory:
        return self._signer.sign(directory, self._found.signed)

    def for_bills(self, now: int) -> tuple[DirectorySigner, SignedDelegation]:
        return self._signer, self._found.signed

    def look_after(self) -> None:
        self._renew()
        self._countdown.look(self._found.not_after - self._clock.now())

    def _renew(self) -> None:
        try:
            found = self._file.news()
        except ConfigError:
            self._note(Event.DELEGATION_UNUSABLE)
            return
        if found is None or found == self._found:
            return
        if found.identity != self.identity:
            # Clients pin the old identity.
            self._note(Event.DELEGATION_UNUSABLE)
            return
        self._found = found
        self._note(Event.DELEGATION_RENEWED)

    def _load(self) -> DelegationFile:
        found = read_delegation(self._path)
        check_delegation(self._path, found, self._signer, int(self._clock.now()))
        return found
