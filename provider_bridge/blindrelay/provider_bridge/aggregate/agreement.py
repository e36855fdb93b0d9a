"""What an exchange agrees on before a provider is asked: a price, where there are bills."""

from __future__ import annotations

from typing import Protocol

from blindrelay.provider_bridge.policy.request_policy import PlannedCall


class Agreement(Protocol):
    """The terms of one exchange (billing/bill.py). At the aggregated address each target has its own."""

    async def agree(self, call: PlannedCall, body: bytearray) -> None:
        """Before the provider is asked. The body may come to ask for a usage report. Raises RequestError."""

    def withdraw(self, body: bytearray) -> None:
        """Takes back the terms, and what they changed in the body: another provider will be asked."""
