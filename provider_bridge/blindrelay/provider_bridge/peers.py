"""Who is calling: the relays that may, told apart so that none takes what all share."""

from __future__ import annotations

import hashlib
import os
from typing import Final

from blindrelay.serving import CallRefusedError, Context, TokenFile
from blindrelay.serving.tokens import AUTHORIZATION_KEY
from blindrelay.v1.outer_status import OuterStatus

PEER_SIZE: Final = 16
"""Bytes of a peer's name."""

CERTIFIED_PEERS: Final = 2
"""Nobody knows how many certificates there are: one relay must not take it all from a second one."""


class Peers:
    """Callers with a token, where tokens are wanted; with a certificate, where TLS wants one; or anyone."""

    def __init__(
        self, tokens: TokenFile | None, expected: int | None = None, *, by_certificate: bool = False
    ) -> None:
        """`expected` is how many there are said to be. If it is None, the tokens are counted; without tokens
        there is one peer, or CERTIFIED_PEERS `by_certificate`.
        """
        self._tokens = tokens
        self._expected = expected
        self._uncounted = CERTIFIED_PEERS if by_certificate else 1
        self._blind = os.urandom(32)

    def count(self) -> int:
        """How many share what this bridge has; 1 or more."""
        if self._expected is not None:
            return self._expected
        return self._uncounted if self._tokens is None else max(1, self._tokens.count)

    def admit(self, context: Context) -> bytes:
        """The caller's name among peers, 16 bytes that mean nothing elsewhere; one for all who show nothing.

        Raises CallRefusedError: UNAUTHENTICATED without a known token, where tokens are wanted.
        """
        metadata = context.invocation_metadata()
        if self._tokens is None:
            return self._name(*sorted(context.peer_identities() or ()))
        if not self._tokens.admits(metadata):
            raise CallRefusedError(OuterStatus.UNAUTHENTICATED)
        # Admitted: there is exactly one, and it is a token.
        return self._name(*(str(value).encode() for key, value in metadata or () if key == AUTHORIZATION_KEY))

    def _name(self, *shown: bytes) -> bytes:
        return hashlib.blake2b(b"\0".join(shown), key=self._blind, digest_size=PEER_SIZE).digest()
