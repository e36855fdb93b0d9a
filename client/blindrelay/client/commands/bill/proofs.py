"""What proves a difference: signed bytes, as they are kept and as the relay served them."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field
from typing import Any

from blindrelay.client.bill import parsed
from blindrelay.client.bill_journal import KeptExchange, KeptReceipt
from blindrelay.trust import (
    MalformedBillError,
    SignedDelegation,
    TrustError,
    bill_signer,
    check_receipt,
    verify_receipt,
)
from blindrelay.v1.accounts_pb2 import LineState, StatementLine
from blindrelay.v1.envelope_pb2 import Envelope
from blindrelay.v1.receipts_pb2 import Receipt


@dataclass(frozen=True)
class Proof:
    """Signed bytes about one exchange.

    Attributes:
        envelope: exact Envelope bytes; empty if this client did not send it.
        receipts: each with the delegation that proves its signature; the relay's is last.
        line: what the relay's statement says; None without one.
    """

    envelope: bytes = b""
    receipts: tuple[KeptReceipt, ...] = field(default=())
    line: StatementLine | None = None

    @classmethod
    def of(cls, exchange: KeptExchange | None, line: StatementLine | None = None) -> Proof:
        """What this client keeps about an exchange, and what the relay says about it."""
        receipts = [] if exchange is None else list(exchange.receipts)
        if line is not None and line.receipt.receipt:
            receipts.append(relayed(line))
        return cls(b"" if exchange is None else exchange.envelope, tuple(receipts), line)

    def as_json(self) -> dict[str, Any]:
        """Bytes in base64."""
        line = self.line
        return {
            "envelope": _text(self.envelope),
            "receipts": [_receipt_json(receipt) for receipt in self.receipts],
            "line": None
            if line is None
            else {
                "at": line.at,
                "state": LineState.Name(line.state).removeprefix("LINE_STATE_").lower(),
                "units": line.units,
                "token": line.token,
            },
        }


def relayed(line: StatementLine) -> KeptReceipt:
    """The receipt of a line, as the relay served it."""
    return KeptReceipt(line.receipt, SignedDelegation(line.delegation, line.delegation_signature))


def verified_receipt(line: StatementLine, known: KeptExchange | None) -> Receipt:
    """The receipt of a line, if the bridge signed it. Raises TrustError.

    For an exchange of another client, the receipt says itself which bridge it is of.
    """
    if known is not None:
        identity = Envelope.FromString(known.envelope).identity
    elif (claimed := parsed(Receipt, line.receipt.receipt)) is not None:
        identity = claimed.identity
    else:
        raise MalformedBillError("a receipt is not a protobuf message")
    delegation = SignedDelegation(line.delegation, line.delegation_signature)
    return verify_receipt(line.receipt, bill_signer(delegation, identity))


def receipt_fault(kept: KeptReceipt, envelope: bytes) -> str | None:
    """Why a receipt that the bridge sent proves nothing; None if it does, or if its signer is not known."""
    if kept.delegation is None:
        return None
    try:
        signer = bill_signer(kept.delegation, Envelope.FromString(envelope).identity)
        check_receipt(verify_receipt(kept.signed, signer), envelope)
    except TrustError as error:
        return str(error)
    return None


def _receipt_json(kept: KeptReceipt) -> dict[str, str]:
    delegation = kept.delegation
    return {
        "receipt": _text(kept.signed.receipt),
        "signature": _text(kept.signed.signature),
        "delegation": "" if delegation is None else _text(delegation.delegation),
        "delegation_signature": "" if delegation is None else _text(delegation.signature),
        "statement": _text(kept.statement),
        "coin": _text(kept.coin),
    }


def _text(data: bytes) -> str:
    return b64encode(data).decode()
