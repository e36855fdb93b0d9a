"""How a client verifies a key directory (spec/protocol.md, sections 4.3 and 5).

The relay carries directories but is not trusted: every signature leads back to the pinned identity.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, TypeVar

from google.protobuf.message import DecodeError

from blindrelay.sealing.errors import KeyConfigError, SuiteError
from blindrelay.sealing.keys import parse_config, public_key_of
from blindrelay.trust.delegation import check_delegation_dates, foreign, verify_delegation, verify_signature
from blindrelay.trust.errors import (
    BadDelegationError,
    FutureDirectoryError,
    MalformedDirectoryError,
    StaleDirectoryError,
    UnknownSuiteError,
)
from blindrelay.trust.identity import SignedDelegation
from blindrelay.v1 import labels
from blindrelay.v1.keys import key_id
from blindrelay.v1.keys_pb2 import Delegation, KeyDirectory, SignedKeyDirectory
from blindrelay.v1.limits import CLOCK_TOLERANCE, IDENTITY_SIZE, MAX_CONFIGS, REPLICA_ID_SIZE

MAX_LIFETIME: Final = 172_800
"""Seconds: two of the longest epochs (one day each). Expiry is the only revocation of a directory."""

_HASH_SIZES: Final = (0, 32)

MessageT = TypeVar("MessageT", Delegation, KeyDirectory)


@dataclass(frozen=True)
class VerifiedKey:
    """A key that a client may seal to.

    Attributes:
        identity: of the bridge, 32 bytes.
        key_id: 16 bytes.
        config: exact KeyConfig bytes.
        not_before, not_after: Unix seconds, inclusive, the bounds of an exchange's issued_at.
        announced_at: Unix seconds, the issued_at of the directory that listed it; not compared.
        price_table_hash: of the table that the replica charges by, 32 bytes or empty; not compared.
    """

    identity: bytes
    key_id: bytes
    config: bytes
    not_before: int
    not_after: int
    announced_at: int = field(default=0, compare=False)
    price_table_hash: bytes = field(default=b"", compare=False)

    def takes(self, issued_at: int) -> bool:
        """Whether the key may seal an exchange with this issued_at (Unix seconds)."""
        return self.not_before <= issued_at <= self.not_after


@dataclass(frozen=True)
class VerifiedDirectory:
    """A directory whose signatures and dates are valid.

    Attributes:
        identity: of the bridge, 32 bytes.
        replica_id: 16 bytes.
        sequence: grows with each directory of the replica.
        started_at: Unix seconds, when the replica's process started; 0 if unknown.
        issued_at, expires_at: Unix seconds; it expires no later than its delegation.
        next_identity_hash: 32 bytes, or empty.
        keys: 1 to 8.
        signed: the SignedKeyDirectory, encoded again; its directory and delegation are exact bytes.
        signing_key: the replica's Ed25519 public key, 32 bytes, to which the identity delegates.
    """

    identity: bytes
    replica_id: bytes
    sequence: int
    started_at: int
    issued_at: int
    expires_at: int
    next_identity_hash: bytes
    keys: tuple[VerifiedKey, ...]
    signed: bytes = field(repr=False)
    signing_key: bytes = field(default=b"", repr=False)

    @property
    def replica(self) -> tuple[bytes, bytes]:
        """Identity and replica_id."""
        return self.identity, self.replica_id

    @property
    def delegation(self) -> SignedDelegation:
        """The identity's delegation to the replica's signing key."""
        signed = SignedKeyDirectory.FromString(self.signed)
        return SignedDelegation(signed.delegation, signed.delegation_signature)

    @property
    def statement(self) -> bytes:
        """The exact KeyDirectory bytes that the replica signed."""
        return SignedKeyDirectory.FromString(self.signed).directory


def verify_directory(signed: SignedKeyDirectory, identity: bytes, now: int) -> VerifiedDirectory:
    """Verifies a freshly fetched directory for an identity (32 bytes) at `now` (Unix seconds).

    Raises the DirectoryError that says what is wrong.
    """
    delegation, directory = _authentic(signed, identity)
    # The directory's dates come first: its issued_at tells how far off this machine's clock is.
    _check_dates(directory, now)
    check_delegation_dates(delegation, now)
    # read_directory() repeats this check: a relay may attach another delegation of the same replica.
    check_delegation_dates(delegation, directory.issued_at)
    return _verified(signed, delegation, directory)


def read_directory(signed: SignedKeyDirectory, identity: bytes) -> VerifiedDirectory:
    """Verifies a directory of any age: that an identity (32 bytes) let the replica state it at that time.

    This does not allow sealing to its keys. Raises the DirectoryError that says what is wrong.
    """
    delegation, directory = _authentic(signed, identity)
    check_delegation_dates(delegation, directory.issued_at)
    return _verified(signed, delegation, directory)


def claimed_identity(signed: SignedKeyDirectory) -> bytes:
    """The identity (32 bytes) that a directory claims; nothing is verified.

    Raises MalformedDirectoryError if it claims none.
    """
    identity = _parse(Delegation, signed.delegation).identity
    if len(identity) != IDENTITY_SIZE:
        raise MalformedDirectoryError("the identity in a delegation is not 32 bytes")
    return identity


def _authentic(signed: SignedKeyDirectory, identity: bytes) -> tuple[Delegation, KeyDirectory]:
    delegation = verify_delegation(SignedDelegation(signed.delegation, signed.delegation_signature), identity)
    verify_signature(delegation.signing_key, labels.KEY_DIRECTORY, signed.directory, signed.signature)
    directory = _parse(KeyDirectory, signed.directory)
    if directory.identity != identity:
        raise foreign(identity, directory.identity)
    _check_form(directory)
    if directory.next_identity_hash != delegation.next_identity_hash:
        raise BadDelegationError("the key directory and its delegation announce different next identities")
    return delegation, directory


def _verified(
    signed: SignedKeyDirectory, delegation: Delegation, directory: KeyDirectory
) -> VerifiedDirectory:
    return VerifiedDirectory(
        identity=directory.identity,
        replica_id=directory.replica_id,
        sequence=directory.sequence,
        started_at=directory.started_at,
        issued_at=directory.issued_at,
        expires_at=min(directory.expires_at, delegation.not_after),
        next_identity_hash=directory.next_identity_hash,
        keys=tuple(_verified_key(directory, config) for config in directory.configs),
        signed=SignedKeyDirectory(
            directory=signed.directory,
            signature=signed.signature,
            delegation=signed.delegation,
            delegation_signature=signed.delegation_signature,
        ).SerializeToString(deterministic=True),
        signing_key=delegation.signing_key,
    )


def _check_form(directory: KeyDirectory) -> None:
    if len(directory.replica_id) != REPLICA_ID_SIZE:
        raise MalformedDirectoryError("the replica_id of a key directory is not 16 bytes")
    if len(directory.next_identity_hash) not in _HASH_SIZES:
        raise MalformedDirectoryError("the next_identity_hash of a key directory is not 32 bytes")
    if len(directory.price_table_hash) not in _HASH_SIZES:
        raise MalformedDirectoryError("the price_table_hash of a key directory is not 32 bytes")
    if not 1 <= len(directory.configs) <= MAX_CONFIGS:
        raise MalformedDirectoryError(f"a key directory does not have 1 to {MAX_CONFIGS} keys")
    if not 0 < directory.expires_at - directory.issued_at <= MAX_LIFETIME:
        raise MalformedDirectoryError("a key directory's lifetime is not between one second and two days")
    if directory.started_at > directory.issued_at:
        raise MalformedDirectoryError("a key directory was issued before its replica started")


def _check_dates(directory: KeyDirectory, now: int) -> None:
    """A fetched directory is new, so its issued_at also shows whether this machine's clock is right."""
    age = now - directory.issued_at
    if age > CLOCK_TOLERANCE:
        raise StaleDirectoryError(
            f"the key directory was issued {_span(age)} ago: this machine's clock is ahead of the bridge's, "
            "or the relay serves an old directory"
        )
    if now > directory.expires_at:
        raise StaleDirectoryError(
            f"the key directory expired {_span(now - directory.expires_at)} ago: this machine's clock is "
            "ahead of the bridge's, or the relay serves an old directory"
        )
    if -age > CLOCK_TOLERANCE:
        raise FutureDirectoryError(
            f"the key directory is dated {_span(-age)} ahead: this machine's clock is behind the bridge's"
        )


def _verified_key(directory: KeyDirectory, config: bytes) -> VerifiedKey:
    try:
        parsed = parse_config(config)
        public_key_of(config)  # an invalid key fails here, not in a later exchange
    except SuiteError as error:
        raise UnknownSuiteError(str(error)) from None
    except KeyConfigError as error:
        raise MalformedDirectoryError(str(error)) from None
    return VerifiedKey(
        identity=directory.identity,
        key_id=key_id(config),
        config=config,
        not_before=parsed.not_before,
        not_after=parsed.not_after,
        announced_at=directory.issued_at,
        price_table_hash=directory.price_table_hash,
    )


def _parse(message_type: type[MessageT], encoded: bytes) -> MessageT:
    try:
        return message_type.FromString(encoded)
    except DecodeError:
        raise MalformedDirectoryError("a key directory is not a protobuf message") from None


def _span(seconds: int) -> str:
    minutes = seconds // 60
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {seconds % 60} s"
