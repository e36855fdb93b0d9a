"""Tells when a relay has reached its bridge."""

from __future__ import annotations

import asyncio

from blindrelay.relay_node import AuditLog, Event, Reason
from blindrelay.serving import Address


class ReadyLog(AuditLog):
    """A relay's log that writes nothing. It is created in a running event loop."""

    def __init__(self) -> None:
        super().__init__(lambda _: None)
        self.reached_bridge = asyncio.Event()

    def event(self, event: Event, replica: Address | None = None, reason: Reason | None = None) -> None:
        super().event(event, replica, reason)
        if event is Event.REPLICA_UP:
            self.reached_bridge.set()
