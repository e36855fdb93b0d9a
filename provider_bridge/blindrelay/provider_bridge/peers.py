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


class Peers:
    """Callers with a token, where tokens are wanted; with a certificate, where TLS wants one; or anyone."""

    def __init__(self, tokens: TokenFile | None) -> None:
        self._tokens = tokens
        self._blind = os.urandom(32)

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
