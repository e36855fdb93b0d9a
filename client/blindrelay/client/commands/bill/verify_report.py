"""What `blindrelay bill verify` prints: text or JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from blindrelay.client.commands.bill.comparison import Comparison, Difference
from blindrelay.client.commands.terminal import one_line


def verify_json(result: Comparison) -> dict[str, Any]:
    """The sums, and each difference with its proof: bytes in base64, exchanges in hexadecimal."""
    return {
        "month": result.month,
        "exchanges": result.exchanges,
        "units": result.units,
        "charged": result.charged,
        "settling": result.settling,
        "found": len(result.found),
        "others": {"exchanges": result.others, "units": result.others_units},
        "differences": [
            {
                "kind": each.kind.value,
                "exchange": each.exchange.hex(),
                "text": each.text,
                "proof": each.proof.as_json(),
            }
            for each in result.differences
        ],
    }


def verify_text(result: Comparison) -> Iterator[str]:
    """The same for people, as lines."""
    yield (
        f"{result.month}: {_count(result.exchanges)} of this client, {result.units:,} units by the bridge's "
        f"receipts; the relay charged {result.charged:,}"
    )
    if result.found:
        yield f"{_count(len(result.found))} had a receipt only at the relay: checked, and kept"
    if result.settling:
        yield f"{_count(result.settling)} not settled yet"
    if result.others:
        yield (
            f"{_count(result.others)} of other clients of the account, or from before this client's records: "
            f"{result.others_units:,} units"
        )
    for each in result.differences:
        yield from _difference(each)
    if not result.differences:
        yield "No difference."


def _difference(each: Difference) -> Iterator[str]:
    where = f" exchange {each.exchange.hex()}" if each.exchange else ""
    yield f"DIFFERENCE ({each.kind.value}){where}: {one_line(each.text)}"
    proof = each.proof.as_json()
    if proof["envelope"]:
        yield f"  envelope  {proof['envelope']}"
    for receipt in proof["receipts"]:
        for name, value in receipt.items():
            if value:
                yield f"  {name:<9} {value}"


def _count(number: int) -> str:
    return f"{number:,} exchange" + ("" if number == 1 else "s")
