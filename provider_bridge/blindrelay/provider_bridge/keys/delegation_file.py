"""Delegation files: an identity lets a replica's signing key speak for it (spec/protocol.md, section 4.1).

A file has two words in hexadecimal: the exact Delegation bytes and the identity's signature. It is not
secret.
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
from blindrelay.v1.limits import CLOCK_TOLERANCE, IDENTITY_SIZE, REPLICA_ID_SIZE, TIME_STEP

MAX_DAYS: Final = 366
"""The most days of a delegation. A stolen signing key works until its delegation ends: nothing revokes it."""

DAY: Final = 86_400
_FORM: Final = re.compile(rb"([0-9a-f]{2,1024})\s+([0-9a-f]{128})\s*")
_LATEST: Final = 253_402_300_799
"""The last second of the year 9999, the latest that date() can write."""


@dataclass(frozen=True)
class DelegationFile:
    """A delegation and its content.

    Attributes:
        signed: exact bytes and signature.
        identity, signing_key: 32 bytes each.
        not_before, not_after: Unix seconds, inclusive.
        next_identity_hash: of the announced next identity, 32 bytes or none.
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
    """Lets a signing key (32 bytes, public) speak for `days`.

    It begins a replay window before `now`, in case this machine's clock is ahead. Raises ConfigError unless
    `days` is 1 to MAX_DAYS, and for the identity's own key.
    """
    if not 1 <= days <= MAX_DAYS:
        raise ConfigError(f"a delegation lasts 1 to {MAX_DAYS} days, not {days}")
    if signing_key == identity.public_key:
        raise ConfigError("the identity key delegates to a signing key of its own, never to itself")
    not_before, not_after = int(now) - CLOCK_TOLERANCE, int(now) + days * DAY
    return identity.delegate(signing_key, not_before, not_after, next_identity_hash)


def write_delegation(path: Path, delegation: SignedDelegation) -> None:
    """Replaces the file atomically, for bridges that follow it. Raises ConfigError if that fails."""
    replace_file(path, f"{delegation.delegation.hex()}\n{delegation.signature.hex()}\n", "delegation")


def read_delegation(path: Path) -> DelegationFile:
    """Reads a delegation without verifying it. Raises ConfigError if it is missing or malformed."""
    match = _FORM.fullmatch(read_bytes(path, "delegation"))
    if match is None or len(match[1]) % 2:
        raise ConfigError(f"{path}: not a delegation, as `blindrelay-bridge delegate` writes it")
    encoded, signature = (bytes.fromhex(word.decode("ascii")) for word in match.groups())
    try:
        parsed = Delegation.FromString(encoded)
    except DecodeError:
        parsed = Delegation()
    if len(parsed.identity) != IDENTITY_SIZE or not parsed.not_before <= parsed.not_after <= _LATEST:
        raise ConfigError(f"{path}: not a delegation: its signed content is something else")
    return DelegationFile(
        SignedDelegation(encoded, signature),
        parsed.identity,
        parsed.signing_key,
        parsed.not_before,
        parsed.not_after,
        parsed.next_identity_hash,
    )


def check_delegation(path: Path, found: DelegationFile, signer: DirectorySigner, now: int) -> None:
    """Raises ConfigError unless clients would now accept what this signer signs with the delegation."""
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
    """A directory to verify as clients do, with a key that is not kept. It is never served."""
    begin = now // TIME_STEP * TIME_STEP
    return KeyDirectory(
        identity=found.identity,
        replica_id=bytes(REPLICA_ID_SIZE),
        issued_at=now,
        expires_at=now + 1,
        next_identity_hash=found.next_identity_hash,
        configs=[SealingKey.generate(begin, begin + TIME_STEP).config],
    )
