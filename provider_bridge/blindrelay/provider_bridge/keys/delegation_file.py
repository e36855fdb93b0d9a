"""Delegations as files: what the identity, kept elsewhere, lets a replica's signing key say for how long
(spec/protocol.md, section 4.1).

A file has two words in hexadecimal: the exact Delegation bytes and the identity's signature. It is no secret.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from google.protobuf.message import DecodeError

from blindrelay.sealing import SealingKey
from blindrelay.serving import ConfigError, read_bytes
from blindrelay.serving.files import replace_file
from blindrelay.trust import DirectoryError, DirectorySigner, IdentityKey, SignedDelegation, verify_directory
from blindrelay.v1.keys_pb2 import Delegation, KeyDirectory
from blindrelay.v1.limits import IDENTITY_SIZE, REPLAY_WINDOW, REPLICA_ID_SIZE, TIME_STEP

MAX_DAYS: Final = 366
"""Of a delegation. Who steals the signing key can use it until the delegation ends: nothing takes it back."""

_DAY: Final = 86_400
_FORM: Final = re.compile(rb"([0-9a-f]{2,1024})\s+([0-9a-f]{128})\s*")
_LATEST: Final = 253_402_300_799
"""The last second of the year 9999, the latest that a date can be written for."""


@dataclass(frozen=True)
class DelegationFile:
    """A delegation that was read, and what it says.

    Attributes:
        signed: exact bytes and signature.
        identity, signing_key: 32 bytes each.
        not_before, not_after: Unix seconds, inclusive.
        next_identity_hash: what is announced with it, 32 bytes or none.
    """

    signed: SignedDelegation
    identity: bytes
    signing_key: bytes
    not_before: int
    not_after: int
    next_identity_hash: bytes


def make_delegation(
    identity: IdentityKey, signing_key: bytes, days: int, now: float, next_identity_hash: bytes = b""
) -> SignedDelegation:
    """Lets a signing key (32 bytes, public) speak from now on, and for the replay window before it, in case
    this machine's clock is ahead.

    Raises ConfigError for more than MAX_DAYS, for none, and for the identity's own key.
    """
    if not 1 <= days <= MAX_DAYS:
        raise ConfigError(f"a delegation lasts 1 to {MAX_DAYS} days, not {days}")
    if signing_key == identity.public_key:
        raise ConfigError("the identity key delegates to a signing key of its own, never to itself")
    return identity.delegate(
        signing_key, int(now) - REPLAY_WINDOW, int(now) + days * _DAY, next_identity_hash
    )


def write_delegation(path: Path, delegation: SignedDelegation) -> None:
    """Replaces the file in one step: a bridge that follows it reads the old one or the new one.

    Raises ConfigError if it cannot be written.
    """
    replace_file(path, f"{delegation.delegation.hex()}\n{delegation.signature.hex()}\n", "delegation")


def read_delegation(path: Path) -> DelegationFile:
    """Reads a delegation; nothing is verified. Raises ConfigError if it is missing or malformed."""
    match = _FORM.fullmatch(read_bytes(path, "delegation"))
    if match is None or len(match[1]) % 2:
        raise ConfigError(f"{path}: not a delegation, as `blindrelay-bridge delegate` writes it")
    encoded, signature = (bytes.fromhex(word.decode("ascii")) for word in match.groups())
    try:
        parsed = Delegation.FromString(encoded)
    except DecodeError:
        parsed = Delegation()
    if len(parsed.identity) != IDENTITY_SIZE or not parsed.not_before <= parsed.not_after <= _LATEST:
        raise ConfigError(f"{path}: not a delegation: what is signed in it is something else")
    return DelegationFile(
        SignedDelegation(encoded, signature),
        parsed.identity,
        parsed.signing_key,
        parsed.not_before,
        parsed.not_after,
        parsed.next_identity_hash,
    )


def check_delegation(path: Path, found: DelegationFile, signer: DirectorySigner, now: int) -> None:
    """Whether clients would accept now what this signer signs on that delegation. Raises ConfigError."""
    if found.signing_key != signer.public_key:
        raise ConfigError(f"{path}: the delegation is for another signing key than this bridge's")
    if now < found.not_before:
        raise ConfigError(f"{path}: the delegation begins only on {date(found.not_before)}")
    if now >= found.not_after:
        raise ConfigError(f"{path}: the delegation ended on {date(found.not_after)}; make a new one")
    try:
        verify_directory(signer.sign(_trial(found, now), found.signed), found.identity, now)
    except DirectoryError:
        raise ConfigError(f"{path}: the delegation is not signed by the identity that it names") from None


def date(seconds: int) -> str:
    """Unix seconds for people: UTC, to the minute."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _trial(found: DelegationFile, now: int) -> KeyDirectory:
    """A directory as clients judge it, of a key that nobody keeps. It is never served."""
    begin = now // TIME_STEP * TIME_STEP
    return KeyDirectory(
        identity=found.identity,
        replica_id=bytes(REPLICA_ID_SIZE),
        issued_at=now,
        expires_at=now + 1,
        next_identity_hash=found.next_identity_hash,
        configs=[SealingKey.generate(begin, begin + TIME_STEP).config],
    )
