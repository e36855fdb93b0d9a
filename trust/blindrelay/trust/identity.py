"""The bridge's identity, as text and as the key that delegates (spec/protocol.md, sections 4 to 4.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from nacl.signing import SigningKey

from blindrelay.trust.errors import IdentityError
from blindrelay.v1 import identity_text, labels
from blindrelay.v1.identity_text import PREFIX
from blindrelay.v1.keys_pb2 import Delegation, KeyDirectory, SignedKeyDirectory

_SEED_SIZE: Final = 32

_GROUP: Final = 4
"""Characters that people read out together."""


def format_identity(public_key: bytes) -> str:
    """The text that a client pins: ``br1`` and 56 lower-case base32 characters, checksum included."""
    return identity_text.format_identity(public_key)


def parse_identity(text: str) -> bytes:
    """The Ed25519 public key (32 bytes) in an identity's text. Raises IdentityError if it is mistyped."""
    try:
        return identity_text.parse_identity(text)
    except ValueError as error:
        raise IdentityError(str(error)) from None


def identity_groups(public_key: bytes) -> str:
    """The text for two people to compare by voice: ``br1``, then two lines of seven groups of four.

    It uses only the letters a to z and the digits 2 to 7, which are not confused with each other.
    """
    body = format_identity(public_key)[len(PREFIX) :]
    groups = [body[start : start + _GROUP] for start in range(0, len(body), _GROUP)]
    half = len(groups) // 2
    return f"{PREFIX} {' '.join(groups[:half])}\n{' ' * len(PREFIX)} {' '.join(groups[half:])}"


def parse_typed_identity(text: str) -> bytes:
    """Reads an identity that a person typed: spaces, hyphens and case do not matter.

    A configuration must have the exact text, which parse_identity() reads. Raises IdentityError.
    """
    return parse_identity("".join(text.replace("-", " ").split()).lower())


@dataclass(frozen=True)
class SignedDelegation:
    """A delegation, signed by the identity.

    Attributes:
        delegation: exact Delegation bytes.
        signature: Ed25519, 64 bytes.
    """

    delegation: bytes
    signature: bytes


class IdentityKey:
    """The bridge's long-lived Ed25519 key. It signs delegations and nothing else.

    Attributes:
        seed: 32 bytes, secret.
        public_key: 32 bytes, what clients pin.
    """

    def __init__(self, seed: bytes) -> None:
        if len(seed) != _SEED_SIZE:
            raise IdentityError(f"the seed of an identity key must have {_SEED_SIZE} bytes, not {len(seed)}")
        self._key = SigningKey(seed)
        self.seed = seed
        self.public_key = bytes(self._key.verify_key)

    @classmethod
    def generate(cls) -> IdentityKey:
        return cls(bytes(SigningKey.generate()))

    @classmethod
    def from_seed(cls, seed: bytes) -> IdentityKey:
        return cls(seed)

    def delegate(
        self, signing_key: bytes, not_before: int, not_after: int, next_identity_hash: bytes = b""
    ) -> SignedDelegation:
        """Lets the replica with this public key (32 bytes) sign for this identity between two Unix seconds.

        `next_identity_hash` (32 bytes, or empty) announces the next identity (annex C).
        """
        delegation = Delegation(
            identity=self.public_key,
            signing_key=signing_key,
            not_before=not_before,
            not_after=not_after,
            next_identity_hash=next_identity_hash,
        ).SerializeToString(deterministic=True)
        signature = self._key.sign(labels.labelled(labels.DELEGATION, delegation)).signature
        return SignedDelegation(delegation, signature)

    def __repr__(self) -> str:
        return f"<IdentityKey {format_identity(self.public_key)}, private>"


class DirectorySigner:
    """The Ed25519 key of a replica, to which the identity delegates. It signs directories and bills.

    Attributes:
        public_key: 32 bytes.
    """

    def __init__(self, seed: bytes) -> None:
        self._key = SigningKey(seed)
        self.public_key = bytes(self._key.verify_key)

    @classmethod
    def generate(cls) -> DirectorySigner:
        return cls(bytes(SigningKey.generate()))

    def sign(self, directory: KeyDirectory, delegation: SignedDelegation) -> SignedKeyDirectory:
        """Signs the directory, and attaches the delegation that allows it."""
        encoded = directory.SerializeToString(deterministic=True)
        return SignedKeyDirectory(
            directory=encoded,
            signature=self.signature(labels.KEY_DIRECTORY, encoded),
            delegation=delegation.delegation,
            delegation_signature=delegation.signature,
        )

    def signature(self, label: bytes, message: bytes) -> bytes:
        """Ed25519, 64 bytes, over the message under the label (section 3.3)."""
        return self._key.sign(labels.labelled(label, message)).signature

    def __repr__(self) -> str:
        return f"<DirectorySigner {self.public_key.hex()[:16]}…, private>"
