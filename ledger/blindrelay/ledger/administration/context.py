"""What the calls of the admin service share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from blindrelay.ledger.async_books import AsyncBooks
from blindrelay.ledger.books import Account

if TYPE_CHECKING:
    from blindrelay.ledger.settlement import Settlement

MAX_PAGE = 1_000
"""Rows of one response."""

_PAGE = 100


class Links(Protocol):
    """Makes links to the page."""

    def new_link(self) -> str:
        """A link that signs one browser in, once."""


async def _nobody(_: Collection[str]) -> None:
    pass


@dataclass
class AdminContext:
    """The books, and what is running: nothing, where a command has opened the books itself.

    Attributes:
        clock: returns Unix seconds.
        on_change: is called with accounts (pseudonyms) that were changed.
        nodes: returns how many data planes report.
        started_at: Unix seconds, or 0.
    """

    books: AsyncBooks
    clock: Callable[[], float]
    on_change: Callable[[Collection[str]], Awaitable[None]] = _nobody
    nodes: Callable[[], int] = lambda: 0
    refusals: Counter[str] = field(default_factory=Counter)
    settlements: Sequence[Settlement] = ()
    links: Links | None = None
    started_at: int = 0

    @property
    def now(self) -> int:
        """Unix seconds."""
        return int(self.clock())

    async def changed(self, account: Account) -> None:
        """Tells the data planes."""
        await self.on_change((account.pseudonym,))


def page_size(asked: int) -> int:
    """How many rows to return."""
    return min(asked or _PAGE, MAX_PAGE)
