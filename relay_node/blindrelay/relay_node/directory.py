"""Key directories as a relay reads them: names and sizes, no signatures (spec/protocol.md, section 5)."""

from __future__ import annotations

from collections.abc import Sequence
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
    """A replica's response is not one key directory within the limits."""


@dataclass(frozen=True)
class Listing:
    """One signed directory, as clients receive it, and the fields by which the relay routes."""

    signed: SignedKeyDirectory
    identity: bytes
    replica_id: bytes
    key_ids: tuple[bytes, ...]
    lifetime: int
    """Seconds from issued_at to expires_at. The replica's clock may differ from ours."""


def read_listing(encoded: bytes) -> Listing:
    """Reads a replica's GetKeyDirectoryResponse: exactly one directory. Raises DirectoryFormatError."""
    if len(encoded) > MAX_DIRECTORIES_SIZE:
        raise DirectoryFormatError("the directory is larger than 65,536 bytes")
    try:
        directories = GetKeyDirectoryResponse.FromString(encoded).directories
        if len(directories) != 1:
            raise DirectoryFormatError("there is not exactly one directory")
        return _listing(directories[0])
    except DecodeError:
        raise DirectoryFormatError("the directory is not a protobuf message") from None


def encode_listings(listings: Sequence[Listing], size: int = MAX_DIRECTORIES_SIZE) -> tuple[bytes, int]:
    """A GetKeyDirectoryResponse with the exact signed bytes, and the number of directories that did not fit.

    It has at most `size` bytes.

    The smallest are taken first. So a directory no larger than an equal part of the size limit always fits.
    """
    response, taken = GetKeyDirectoryResponse(), set[int]()
    for number in sorted(range(len(listings)), key=lambda number: listings[number].signed.ByteSize()):
        response.directories.append(listings[number].signed)
        if len(response.directories) > MAX_DIRECTORIES or response.ByteSize() > size:
            break
        taken.add(number)
    fitting = [listing.signed for number, listing in enumerate(listings) if number in taken]
    return GetKeyDirectoryResponse(directories=fitting).SerializeToString(), len(listings) - len(fitting)


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
    # Clients receive the signed bytes and the signatures. Unknown fields are dropped.
    signed.DiscardUnknownFields()
    key_ids = tuple(key_id(config) for config in directory.configs)
    return Listing(signed, directory.identity, directory.replica_id, key_ids, lifetime)
