"""Which replica an exchange goes to, and the directories of all of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final

from blindrelay.relay_node.audit_log import AuditLog, Event
from blindrelay.relay_node.directory import encode_listings
from blindrelay.relay_node.replica import Replica
from blindrelay.serving import CallRefusedError
from blindrelay.v1.outer_status import OuterStatus

REFRESH_WAIT: Final = 1.5
"""Seconds that a call waits for directories being fetched; a client's connect timeout is longer."""


class Routing:
    """Finds replicas by key and answers with their directories; both wait, bounded, for a fetch under way."""

    def __init__(self, replicas: Sequence[Replica], records: AuditLog) -> None:
        self._replicas = replicas
        self._records = records
        self._left_out = 0

    @property
    def up(self) -> bool:
        """Whether any replica can be reached."""
        return any(replica.up for replica in self._replicas)

    async def find(self, identity: bytes, key_id: bytes) -> Replica:
        """The replica that holds the key.

        Raises CallRefusedError: KEY_UNKNOWN, IDENTITY_UNKNOWN, or BRIDGE_UNAVAILABLE if a replica that is
        down might hold it.
        """
        holder = self._holder(identity, key_id)
        if holder is None:
            for replica in self._replicas:
                replica.refresh_if_stale()
        await _settled(self._replicas if holder is None else [holder])
        found = self._holder(identity, key_id)
        if found is None:
            raise CallRefusedError(self._why_not(identity))
        return found

    async def directories(self) -> bytes:
        """An encoded GetKeyDirectoryResponse with all directories at hand, in the order of the configuration.

        Raises CallRefusedError(BRIDGE_UNAVAILABLE) if there is none.
        """
        await _settled(self._replicas)
        listings = [listing for replica in self._replicas for listing in replica.listings]
        if not listings:
            raise CallRefusedError(OuterStatus.BRIDGE_UNAVAILABLE)
        encoded, left_out = encode_listings(listings)
        if left_out > self._left_out:
            self._records.event(Event.DIRECTORIES_LEFT_OUT)
        self._left_out = left_out
        return encoded

    def _holder(self, identity: bytes, key_id: bytes) -> Replica | None:
        return next((replica for replica in self._replicas if replica.holds(identity, key_id)), None)

    def _why_not(self, identity: bytes) -> OuterStatus:
        if any(replica.up and identity in replica.identities for replica in self._replicas):
            return OuterStatus.KEY_UNKNOWN
        if all(replica.up for replica in self._replicas):
            return OuterStatus.IDENTITY_UNKNOWN
        return OuterStatus.BRIDGE_UNAVAILABLE


async def _settled(replicas: Sequence[Replica]) -> None:
    """Waits for directories that are being fetched because what is at hand may be another process's."""
    for replica in replicas:
        replica.refresh_if_disconnected()
    if all(replica.is_settled for replica in replicas):
        return
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(REFRESH_WAIT):
            for replica in replicas:
                await replica.settled()
