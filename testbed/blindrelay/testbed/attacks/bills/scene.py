"""The parties to a bill, without the network between them: a bridge that signs, a relay's books, a client.

The books, the check of what a bridge sends, and the client's comparison are the real ones.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from blindrelay.client.account import AccountStatement
from blindrelay.client.bill_journal import KeptExchange, KeptReceipt
from blindrelay.client.commands.bill.comparison import Comparison, Kept, compare
from blindrelay.ledger.account_service import statement_line
from blindrelay.ledger.bills import BillReader, PriceTable
from blindrelay.ledger.books import Books, End, Lease, Outcome, Receipt, Start, Watermark
from blindrelay.testbed.billing_bridge import NOW, BillingBridge
from blindrelay.trust import DirectoryError, sign_watermark, verify_price_table
from blindrelay.v1 import receipts_pb2
from blindrelay.v1.accounts_pb2 import StatementLine
from blindrelay.v1.settlement_pb2 import SettleResponse, SettleSigner

UNITS: Final = 1_000
"""What the customer's account begins with."""

COST: Final = 20
"""Units of each exchange, by the bridge's price table."""

LATER: Final = NOW + 3_600
"""When everything is settled."""

MONTH: Final = "2027-01"
_TOKEN: Final = bytes(32)
_NODE: Final = bytes(16)


class BillScene:
    """One account with one token, at one relay.

    Attributes:
        bridge: the bridge that the client pins and the ledger collects from.
        books: the ledger's.
        sent: what the client keeps.
        reader: the ledger's check of the bridge's stream.
    """

    def __init__(self, books: Books) -> None:
        self.bridge = BillingBridge()
        self.books = books
        self.sent: dict[bytes, KeptExchange] = {}
        self.reader = BillReader((self.bridge.identity.public_key,), lambda: NOW)
        self._lines = 0
        books.add_account("customer", by="attack", now=NOW)
        books.credit("customer", UNITS, "order 1", by="attack", now=NOW)
        books.add_token("customer", "laptop", _TOKEN, by="attack", now=NOW)
        self.settle(SettleResponse(price_table=self.bridge.signed_table))

    def exchange(self, number: int = 1, *, by_client: bool = True) -> bytes:
        """Starts an exchange, and returns its envelope. `by_client=False`: the client knows nothing of it."""
        envelope = self.bridge.envelope(number)
        self.start(envelope)
        if by_client:
            name = hashlib.sha256(envelope).digest()
            self.sent[name] = KeptExchange(envelope, "relay:443", "key", self.bridge.table_hash)
        return envelope

    def start(self, envelope: bytes) -> None:
        """The relay reports that an exchange has started."""
        lease = self.books.lease(_TOKEN, _NODE, NOW)
        assert isinstance(lease, Lease)
        self._lines += 1
        self.books.take_lines(_NODE, self._lines, [Start(lease.id, envelope, 60)], NOW)

    def end(self, end: End) -> None:
        """The relay reports the end of an exchange."""
        self._lines += 1
        self.books.take_lines(_NODE, self._lines, [end], NOW)

    def answer(self, envelope: bytes, kept: KeptReceipt) -> None:
        """The bridge seals a receipt and its statement to the client."""
        self.sent[hashlib.sha256(envelope).digest()].receipts.append(kept)

    def settle(self, *items: SettleResponse, bridge: BillingBridge | None = None) -> list[Outcome]:
        """A bridge sends items to the ledger. The outcome of each receipt; none of those not accepted."""
        signed = (bridge or self.bridge).delegation
        signer = SettleSigner(delegation=signed.delegation, delegation_signature=signed.signature)
        outcomes: list[Outcome] = []
        try:
            bills = self.reader.read([SettleResponse(signer=signer), *items])
        except DirectoryError:
            return []
        for bill in bills:
            if isinstance(bill, Receipt):
                outcomes += self.books.post([bill], NOW).outcomes
            elif isinstance(bill, Watermark):
                self.books.close_exchanges(bill, NOW)
            elif isinstance(bill, PriceTable):
                self.books.add_price_table(bill.hash, bill.signed, NOW)
        return outcomes

    def watermark(self, **fields: Any) -> SettleResponse:
        """The bridge closes what was issued before now, sealed to its key."""
        watermark = receipts_pb2.Watermark(
            version=1,
            identity=self.bridge.identity.public_key,
            replica_id=bytes(16),
            started_at=NOW - 600,
            closed_before=NOW + 10,
            key_ids=[bytes(16)],
            **fields,
        )
        return SettleResponse(watermark=sign_watermark(watermark, self.bridge.signer))

    @property
    def charged(self) -> int:
        """Units that the account was charged."""
        return UNITS - self.books.account("customer").balance

    def statement(self) -> AccountStatement:
        """The relay's statement, as an honest relay serves it."""
        sums = self.books.statement("customer", MONTH, LATER)
        lines: list[StatementLine] = [
            statement_line(line) for line in self.books.lines("customer", MONTH, LATER)
        ]
        return AccountStatement(sums.balance, sums.charged, lines)

    def compared(self, statement: AccountStatement | None = None) -> Comparison:
        """What `blindrelay bill verify` finds."""
        tables = {}
        for table_hash in {each.price_table_hash for each in self.sent.values()}:
            if (found := self.books.price_table(table_hash)) is not None:
                signed = receipts_pb2.SignedPriceTable(**vars(found))
                tables[table_hash] = verify_price_table(signed, self.bridge.identity.public_key)
        kept = Kept(self.sent, tables, "relay:443", "key")
        return compare(statement or self.statement(), kept, MONTH, LATER)

    def noticed(self, statement: AccountStatement | None = None) -> bool:
        """Whether the client finds a difference."""
        return bool(self.compared(statement).differences)


def receipt_item(kept: KeptReceipt, sequence: int = 1) -> SettleResponse:
    """A receipt as it travels to the ledger."""
    return SettleResponse(sequence=sequence, receipt=kept.signed)


@contextmanager
def bill_scene() -> Iterator[BillScene]:
    """A scene with new books."""
    with (
        tempfile.TemporaryDirectory(prefix="blindrelay-bills-") as folder,
        Books(Path(folder) / "ledger.db") as books,
    ):
        yield BillScene(books)
