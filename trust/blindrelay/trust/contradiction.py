"""Two signed directories that contradict each other. Anyone who has the identity can check this proof.

As text it is JSON: ``{"format": …, "identity": "br1…", "statements": [base64, base64]}``, each statement an
encoded SignedKeyDirectory (spec/protocol.md, section 5).
"""

from __future__ import annotations

from typing import Final

from google.protobuf.message import DecodeError

from blindrelay.trust.directory import VerifiedDirectory, read_directory
from blindrelay.trust.errors import DirectoryError, HistoryFormError, IdentityError, MalformedDirectoryError
from blindrelay.trust.identity import format_identity, parse_identity
from blindrelay.trust.json_form import bytes_of, members_of, read_json, text_of, texts_of, write_json
from blindrelay.v1.keys_pb2 import SignedKeyDirectory

FORMAT: Final = "blindrelay contradiction, version 1"


def is_contradiction(first: VerifiedDirectory, second: VerifiedDirectory) -> bool:
    """Whether one replica signed two different directories with one sequence number."""
    one_number = (first.replica, first.sequence) == (second.replica, second.sequence)
    return one_number and first.statement != second.statement


def encode_proof(identity: bytes, proof: tuple[bytes, bytes]) -> str:
    """A contradiction as text: the identity (32 bytes) and two encoded SignedKeyDirectory messages."""
    content = {
        "format": FORMAT,
        "identity": format_identity(identity),
        "statements": [text_of(signed) for signed in proof],
    }
    return write_json(content)


def decode_proof(text: str) -> tuple[bytes, tuple[bytes, bytes]]:
    """The identity in a proof and its two encoded messages; nothing is verified.

    Raises HistoryFormError.
    """
    content = members_of(read_json(text), FORMAT, ("identity", "statements"))
    statements = texts_of(content["statements"])
    if len(statements) != 2:
        raise HistoryFormError("a contradiction must have two statements")
    try:
        identity = parse_identity(str(content["identity"]))
    except IdentityError as error:
        raise HistoryFormError(str(error)) from None
    return identity, (bytes_of(statements[0]), bytes_of(statements[1]))


def verify_proof(proof: tuple[bytes, bytes], identity: bytes) -> tuple[VerifiedDirectory, VerifiedDirectory]:
    """Checks that an identity's (32 bytes) replica signed both statements, and that they contradict.

    Raises the DirectoryError that says what is wrong.
    """
    first, second = (read_statement(signed, identity) for signed in proof)
    if not is_contradiction(first, second):
        raise DirectoryError("the two statements do not contradict each other")
    return first, second


def read_statement(encoded: bytes, identity: bytes) -> VerifiedDirectory:
    """Verifies an encoded SignedKeyDirectory of any age. Raises DirectoryError."""
    return read_directory(signed_directory(encoded), identity)


def signed_directory(encoded: bytes) -> SignedKeyDirectory:
    """Parses an encoded SignedKeyDirectory. Raises MalformedDirectoryError."""
    try:
        return SignedKeyDirectory.FromString(encoded)
    except DecodeError:
        raise MalformedDirectoryError("a statement is not a signed key directory") from None
