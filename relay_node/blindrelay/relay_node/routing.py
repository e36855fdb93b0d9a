"""Finds the replica of an exchange, and collects the directories of all replicas."""

from __future__ import annotations

from collections.abc import Sequence

from blindrelay.relay_node.audit_log import AuditLog, Event
from blindrelay.relay_node.directory import encode_listings
from blindrelay.relay_node.replica import Replica
from blindrelay.serving import CallRefusedError
from blindrelay.v1.limits import MAX_DIRECTORIES_SIZE
from blindrelay.v1.outer_status import OuterStatus


class Routing:
    """Finds replicas by key, and their directories. Both wait for a running fetch, for a bounded time."""

    def __init__(
        self, replicas: Sequence[Replica], audit_log: AuditLog, size: int = MAX_DIRECTORIES_SIZE
    ) -> None:
        """`size` is the room for directories in a response, in bytes."""
        self._replicas = replicas
        self._size = size
        self._audit_log = audit_log
        self._left_out = 0

    @property
    def up(self) -> bool:
        """Whether any replica can be reached."""
        return any(replica.up for replica in self._replicas)

    async def find(self, identity: bytes, key_id: bytes) -> Replica:
        """The replica that holds the key.

        Raises CallRefusedError: KEY_UNKNOWN, IDENTITY_UNKNOWN, or BRIDGE_UNAVAILABLE if a replica that is
        down may hold it.
        """
        candidates = [replica for replica in self._replicas if replica.may_speak_for(identity)]
        holder = _holder(candidates, identity, key_id)
        if holder is None:
            for replica in candidates:
                replica.refresh_if_stale()
        await _settled(candidates if holder is None else [holder])
        found = _holder(candidates, identity, key_id)
        if found is None:
            raise CallRefusedError(_why_not(candidates, identity))
        return found

    async def directories(self) -> bytes:
        """An encoded GetKeyDirectoryResponse with all known directories, in the order of the configuration.

        Raises CallRefusedError(BRIDGE_UNAVAILABLE) if no directory is known.
        """
        await _settled(self._replicas)
        listings = [replica.listing for replica in self._replicas if replica.listing is not None]
        if not listings:
            raise CallRefusedError(OuterStatus.BRIDGE_UNAVAILABLE)
        encoded, left_out = encode_listings(listings, self._size)
        if left_out > self._left_out:
            self._audit_log.event(Event.DIRECTORIES_LEFT_OUT)
        self._left_out = left_out
        return encoded


def _holder(replicas: Sequence[Replica], identity: bytes, key_id: bytes) -> Replica | None:
    """The first replica that lists the key. Two of one identity may both list it."""
    return next((replica for replica in replicas if replica.holds(identity, key_id)), None)


def _why_not(replicas: Sequence[Replica], identity: bytes) -> OuterStatus:
    if any(replica.up and replica.identity == identity for replica in replicas):
        return OuterStatus.KEY_UNKNOWN
    if all(replica.up for replica in replicas):
        return OuterStatus.IDENTITY_UNKNOWN
    return OuterStatus.BRIDGE_UNAVAILABLE


async def _settled(replicas: Sequence[Replica]) -> None:
    """Waits, for a bounded time, for fetches: a known directory may be that of an earlier process."""
    for replica in replicas:
        replica.refresh_if_disconnected()
    for replica in replicas:
        if not replica.is_settled:
            await replica.settled()
