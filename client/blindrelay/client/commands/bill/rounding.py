"""Whether a bridge rounds at random (spec/protocol.md, annex E.4).

It draws the last part of an exchange's coin. If it drew again until it rounds up, each coin would still be
right, and only the sum would show it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from blindrelay.client.bill import parsed
from blindrelay.client.bill_journal import KeptExchange
from blindrelay.v1.limits import MILLIONTHS
from blindrelay.v1.receipts_pb2 import ROUNDING_EXACT, Receipt, Statement
from blindrelay.v1.units import ladder_neighbours

MOST_DEVIATIONS: Final = 5.0
"""Standard deviations. An honest bridge exceeds them once in three million bills."""


def deviations(exchanges: Iterable[KeptExchange]) -> float:
    """By how many standard deviations the units of these exchanges exceed their exact cost."""
    excess = variance = 0
    for exchange in exchanges:
        for kept in exchange.receipts[:1]:
            receipt = parsed(Receipt, kept.signed.receipt)
            statement = parsed(Statement, kept.statement) if kept.statement else None
            if receipt is None or statement is None or statement.rounding == ROUNDING_EXACT:
                continue
            low, high = (each * MILLIONTHS for each in ladder_neighbours(statement.cost))
            excess += receipt.units * MILLIONTHS - statement.cost
            variance += (high - statement.cost) * (statement.cost - low)
    return excess / math.sqrt(variance) if variance else 0.0
