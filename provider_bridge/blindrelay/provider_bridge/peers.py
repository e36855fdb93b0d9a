"""Who is calling: the relays that may, told apart so that none takes what all share."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from blindrelay.serving import Callers, Context

PEER_SIZE: Final = 16
"""Bytes of a peer's name."""

CERTIFIED_PEERS: Final = 2
"""Nobody knows how many certificates there are: one relay must not take it all from a second one."""


class Peers:
    """Callers with a token, where tokens are wanted; with a certificate, where TLS wants one; or anyone."""

    def __init__(
        self, callers: Callers | None, expected: int | None = None, *, by_certificate: bool = False
    ) -> None:
        """`callers` are those with a token, where tokens are wanted. `expected` is how many peers there are
        said to be. If it is None, the tokens are counted; without tokens there is one peer, or
        CERTIFIED_PEERS `by_certificate`.
        """
        self._callers = callers
        self._expected = expected
        self._uncounted = CERTIFIED_PEERS if by_certificate else 1
        self._blind = os.urandom(32)

    def count(self) -> int:
        """How many share what this bridge has; 1 or more."""
        if self._expected is not None:
            return self._expected
        return self._uncounted if self._callers is None else max(1, self._callers.count)

    @contextmanager
    def admitted(self, context: Context) -> Iterator[bytes]:
        """One call, for as long as the block runs. Yields the caller's name among peers, 16 bytes that mean
        nothing elsewhere; there is one for all who show nothing.

        Raises CallRefusedError: UNAUTHENTICATED without a known token, where tokens are wanted, and when the
        token is revoked meanwhile.
        """
        if self._callers is None:
            yield self._name(*sorted(context.peer_identities() or ()))
            return
        with self._callers.admitted(context.invocation_metadata()) as token:
            yield token[:PEER_SIZE]

    def _name(self, *shown: bytes) -> bytes:
        return hashlib.blake2b(b"\0".join(shown), key=self._blind, digest_size=PEER_SIZE).digest()
