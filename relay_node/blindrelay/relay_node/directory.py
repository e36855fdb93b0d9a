"""What a relay reads in key directories: names and sizes, no signature (spec/protocol.md, section 5)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from blindrelay.v1.exchange_pb2 import GetKeyDirectoryResponse
from blindrelay.v1.keys import key_id
from blindrelay.v1.keys_pb2 import KeyDirectory, SignedKeyDirectory
from blindrelay.v1.limits import (
    IDENTITY_SIZE,
    MAX_CONFIGS,
    MAX_DIRECTORIES,
    MAX_DIRECTORIES_SIZE,
    REPLICA_ID_SIZE,
)


class DirectoryFormatError(ValueError):
    """A replica's answer is no list of key directories within the limits."""


@dataclass(frozen=True)
class Listing:
    """One signed directory, as it goes on to clients, and what the relay finds its way by."""

    signed: SignedKeyDirectory
    identity: bytes
    replica_id: bytes
    key_ids: tuple[bytes, ...]
    lifetime: int
    """Seconds from issued_at to expires_at; the replica's clock need not be ours."""


def read_listings(encoded: bytes) -> tuple[Listing, ...]:
    """Reads an encoded GetKeyDirectoryResponse; at least one directory. Raises DirectoryFormatError."""
    if len(encoded) > MAX_DIRECTORIES_SIZE:
        raise DirectoryFormatError("the directories are larger than 65,536 bytes")
    try:
        directories = GetKeyDirectoryResponse.FromString(encoded).directories
        if not 1 <= len(directories) <= MAX_DIRECTORIES:
            raise DirectoryFormatError("there are not 1 to 64 directories")
        return tuple(_listing(signed) for signed in directories)
    except DecodeError:
        raise DirectoryFormatError("the directories are not protobuf messages") from None


def encode_listings(listings: Iterable[Listing]) -> tuple[bytes, int]:
    """A GetKeyDirectoryResponse with the exact signed bytes, and how many did not fit within the limits."""
    response = GetKeyDirectoryResponse()
    left_out = 0
    for listing in listings:
        response.directories.append(listing.signed)
        if len(response.directories) > MAX_DIRECTORIES or response.ByteSize() > MAX_DIRECTORIES_SIZE:
            del response.directories[-1]
            left_out += 1
    return response.SerializeToString(), left_out


def _listing(signed: SignedKeyDirectory) -> Listing:
    directory = KeyDirectory.FromString(signed.directory)
    lifetime = directory.expires_at - directory.issued_at
    if (
        len(directory.identity) != IDENTITY_SIZE
        or len(directory.replica_id) != REPLICA_ID_SIZE
        or not 1 <= len(directory.configs) <= MAX_CONFIGS
        or lifetime <= 0
    ):
        raise DirectoryFormatError("a directory's sizes or times are out of bounds")
    # Only what is signed and its signatures: a field that we do not know is not carried along.
    signed.DiscardUnknownFields()
    key_ids = tuple(key_id(config) for config in directory.configs)
    return Listing(signed, directory.identity, directory.replica_id, key_ids, lifetime)
