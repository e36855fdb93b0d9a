"""What a connection shows for its exchanges: its access token, or the lease that the relay gives for it.

A relay with a ledger gives a lease of a few minutes with the directories (spec/protocol.md, section 5). It
is valid at one relay process, so it belongs to one connection.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Final

from blindrelay.client.errors import RelayError
from blindrelay.v1.exchange_pb2 import GetKeyDirectoryResponse
from blindrelay.v1.grpc_profile import authorization
from blindrelay.v1.limits import MAX_LEASE_SIZE

RENEW_AGAIN_SECONDS: Final = 5.0
"""Seconds between two attempts to renew a lease that is still valid."""

_LEASE: Final = re.compile(f"[!-~]{{1,{MAX_LEASE_SIZE}}}")


class Lease:
    """The lease of one connection, if its relay gives any. `clock` is a monotonic one, in seconds."""

    def __init__(self, token: str | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._token = () if token is None else (authorization(token),)
        self._clock = clock
        self._lease: str | None = None
        self._renew_at = self._expires_at = 0.0

    @property
    def token(self) -> tuple[tuple[str, str], ...]:
        """The metadata that show the access token, for all calls but exchanges."""
        return self._token

    @property
    def shown(self) -> tuple[tuple[str, str], ...]:
        """The metadata to show for an exchange."""
        return self._token if self._lease is None else (authorization(self._lease),)

    @property
    def is_valid(self) -> bool:
        """Whether there is a lease that has not expired."""
        return self._lease is not None and self._clock() < self._expires_at

    def take(self, response: GetKeyDirectoryResponse) -> None:
        """Takes the lease from a fetch, or none. Raises RelayError if it has invalid characters."""
        if not response.lease:
            self.drop()
            return
        if not _LEASE.fullmatch(response.lease):
            raise RelayError("the relay sent an invalid lease")
        now = self._clock()
        self._lease = response.lease
        self._renew_at = now + response.lease_seconds / 2
        self._expires_at = now + response.lease_seconds

    def drop(self) -> None:
        """Forgets the lease: the next exchange may reach another relay process."""
        self._lease = None

    def is_to_be_renewed(self) -> bool:
        """Whether to renew it: half of its time is over. After each True, False for RENEW_AGAIN_SECONDS."""
        now = self._clock()
        if self._lease is None or now < self._renew_at:
            return False
        self._renew_at = now + RENEW_AGAIN_SECONDS
        return True
