"""Key directories as a hostile bridge or relay makes them (spec/protocol.md, sections 4 and 5).

The fuzzer holds the keys of an identity, its successor and a replica. It signs what it changes, so that the
code behind the signatures is reached. What it signs wrongly on purpose must never be accepted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from google.protobuf.message import DecodeError
from nacl.signing import SigningKey

from blindrelay.v1.exchange_pb2 import GetKeyDirectoryResponse
from blindrelay.v1.keys_pb2 import Delegation, KeyConfig, KeyDirectory, SignedKeyDirectory

from .alter import altered
from .tape import Tape, written
from .target import check
from .vectors import NOW, every, raw, vector

_IDENTITY, _REPLICA, _SUCCESSOR = (SigningKey(bytes(range(start, start + 32))) for start in (0, 32, 64))
PINNED: Final = bytes(_IDENTITY.verify_key)
SUCCESSOR: Final = bytes(_SUCCESSOR.verify_key)
SUCCESSOR_HASH: Final = hashlib.sha256(SUCCESSOR).digest()

CONFIG: Final = raw(vector("key/key")["config"])
_CONFIG: Final = KeyConfig.FromString(CONFIG)

GOOD_DIRECTORY: Final = written(0, 0, 0, 0, b"", 0, 0, b"", 7, 7)
"""The tape of a directory that is accepted at NOW."""

OTHER_DIRECTORY: Final = written(0, 0, 0, 0x10, 3, b"", 0, 0, b"", 7, 7)
"""The tape of one with the same sequence that expires ten seconds later."""


@dataclass(frozen=True)
class MadeDirectory:
    """What the fuzzer signed.

    Attributes:
        said: the parsed directory, or an empty one if it cannot be parsed.
        genuine: whether `identity` and its replica made both signatures.
    """

    message: SignedKeyDirectory
    said: KeyDirectory
    identity: bytes
    genuine: bool


def made_directory(tape: Tape, now: int = NOW) -> MadeDirectory:
    """A directory of altered content, with signatures that are right or wrong as the tape says."""
    how = tape.byte()
    identity = _SUCCESSOR if how & 1 else _IDENTITY
    public_key = bytes(identity.verify_key)
    directory = tape.chunk() if how == 0xFE else _directory(tape, public_key, now, announces=how & 2 == 2)
    delegation = altered(tape, _delegation(public_key, now, announces=how & 2 == 2))
    signature, right = _signature(tape, _REPLICA, b"blindrelay/v1 key directory", directory)
    delegated, also_right = _signature(tape, identity, b"blindrelay/v1 delegation", delegation)
    message = SignedKeyDirectory(
        directory=directory, signature=signature, delegation=delegation, delegation_signature=delegated
    )
    return MadeDirectory(message, directory_in(message), public_key, right and also_right)


def _directory(tape: Tape, identity: bytes, now: int, *, announces: bool) -> bytes:
    base = KeyDirectory(
        identity=identity,
        replica_id=b"\x11" * 16,
        sequence=now - NOW + 7,
        started_at=now - 60,
        issued_at=now,
        expires_at=now + 7_200,
        next_identity_hash=SUCCESSOR_HASH if announces else b"",
    )
    config = KeyConfig()
    config.CopyFrom(_CONFIG)
    config.not_before, config.not_after = now // 10 * 10 - 600, now // 10 * 10 + 3_000
    base.configs.append(
        altered(tape, config) if tape.flag() else config.SerializeToString(deterministic=True)
    )
    return altered(tape, base)


def _delegation(identity: bytes, now: int, *, announces: bool) -> Delegation:
    signing_key = bytes(_REPLICA.verify_key)
    return Delegation(
        identity=identity,
        signing_key=signing_key,
        not_before=now - 86_400,
        not_after=now + 604_800,
        next_identity_hash=SUCCESSOR_HASH if announces else b"",
    )


def _signature(tape: Tape, key: SigningKey, label: bytes, message: bytes) -> tuple[bytes, bool]:
    right = key.sign(label + b"\x00" + message).signature
    match tape.byte() % 8:
        case 0:
            given = SigningKey(b"\x40" * 32).sign(label + b"\x00" + message).signature
        case 1:
            given = key.sign(message).signature
        case 2:
            given = tape.chunk()
        case _:
            given = right
    return given, given == right


def directory_in(message: SignedKeyDirectory) -> KeyDirectory:
    """The directory in a message, or an empty one if it cannot be parsed."""
    try:
        return KeyDirectory.FromString(message.directory)
    except DecodeError:
        return KeyDirectory()


def check_proof(first: bytes, second: bytes) -> None:
    signed = [SignedKeyDirectory.FromString(each) for each in (first, second)]
    said = [KeyDirectory.FromString(each.directory) for each in signed]
    check(signed[0].directory != signed[1].directory, "a proof is two directories")
    check((said[0].replica_id, said[0].sequence) == (said[1].replica_id, said[1].sequence), "of one number")


def vector_answers() -> Iterator[bytes]:
    """What relays serve in the vectors: encoded GetKeyDirectoryResponse messages."""
    for each in every("directory"):
        fetched = [SignedKeyDirectory.FromString(raw(step["signed"])) for step in each["steps"]]
        yield GetKeyDirectoryResponse(directories=fetched).SerializeToString()
