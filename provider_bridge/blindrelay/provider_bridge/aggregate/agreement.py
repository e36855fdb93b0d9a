"""What an exchange agrees on before a provider is asked: a price, where there are bills."""

from __future__ import annotations

from typing import Protocol

from blindrelay.provider_bridge.policy.request_policy import PlannedCall


class Agreement(Protocol):
    """The terms of one exchange (billing/bill.py); at the aggregated address, those of a target."""

    async def agree(self, call: PlannedCall, body: bytearray) -> None:
        """Agrees on the terms, and may make the body ask for a usage report. Raises RequestError."""

    def withdraw(self, body: bytearray) -> None:
        """Drops the terms and undoes what they changed in the body, before another provider is asked."""
