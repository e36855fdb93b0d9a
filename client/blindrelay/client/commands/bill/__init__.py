"""`blindrelay bill`: what this client was charged, and whether the relay's statement agrees."""

from blindrelay.client.commands.bill.command import bill

__all__ = ["bill"]
