"""The relays that may call, told apart so that none uses up what all share."""

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
"""Assumed with certificates, whose number is unknown: one relay must leave room for another."""


class Peers:
    """Callers with a token or a client certificate, where either is required; or anyone."""

    def __init__(
        self,
        callers: Callers | None,
        expected: int | None = None,
        *,
        by_certificate: bool = False,
        blind: bytes | None = None,
    ) -> None:
        """`callers` checks tokens, or is None if none are required. `expected` is the configured number of
        peers. If it is None, tokens are counted; without tokens there is one peer, or CERTIFIED_PEERS with
        `by_certificate`. `blind` (32 bytes) keeps names the same in a later process; None draws it.
        """
        self._callers = callers
        self._expected = expected
        self._uncounted = CERTIFIED_PEERS if by_certificate else 1
        self._blind = os.urandom(32) if blind is None else blind

    def count(self) -> int:
        """How many peers share this bridge; at least 1."""
        if self._expected is not None:
            return self._expected
        return self._uncounted if self._callers is None else max(1, self._callers.count)

    @contextmanager
    def admitted(self, context: Context) -> Iterator[bytes]:
        """Admits one call while the block runs. Yields the caller's name among peers: 16 bytes, meaningless
        elsewhere, and the same for all callers without token and certificate.

        Raises CallRefusedError: UNAUTHENTICATED if a required token is missing or unknown, or is revoked
        meanwhile.
        """
        if self._callers is None:
            yield self._name(*sorted(context.peer_identities() or ()))
            return
        with self._callers.admitted(context.invocation_metadata()) as token:
            yield token[:PEER_SIZE]

    def _name(self, *shown: bytes) -> bytes:
        return hashlib.blake2b(b"\0".join(shown), key=self._blind, digest_size=PEER_SIZE).digest()
