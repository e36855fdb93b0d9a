"""A node's lines, read before the books are locked."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from blindrelay.ledger.books.account_rows import MAX_AMOUNT
from blindrelay.ledger.books.exchange_rows import End, Start
from blindrelay.v1.envelope import EnvelopeError, parse_envelope
from blindrelay.v1.envelope_pb2 import Envelope

GRACE_SECONDS: Final = 120
"""Seconds after an exchange's deadline: its receipt is under way."""
MAX_DEADLINE: Final = 86_400
"""Seconds: longer than any deadline class, so that no line holds units for ever."""


@dataclass(frozen=True)
class Reserving:
    """A start line that can be used."""

    sequence: int
    lease: str
    envelope_hash: bytes
    envelope: Envelope
    issued_at: int
    expires_at: int

    def row(self) -> tuple[int | str | bytes, ...]:
        """As the statement that starts exchanges has it."""
        envelope = self.envelope
        return (
            *(self.envelope_hash, envelope.exchange_id, envelope.identity, envelope.key_id, self.lease),
            *(self.sequence, self.issued_at, self.expires_at, envelope.max_units),
        )


class Lines:
    """Lines of one node. `first_sequence` is the number of the first of them.

    Attributes:
        starts: the start lines that can be used, by their numbers.
        ends: the first end line of each start line, by the number of the start line.
    """

    def __init__(self, node: bytes, first_sequence: int, lines: Sequence[Start | End], now: int) -> None:
        self.node = node
        self.now = now
        self.starts: dict[int, Reserving] = {}
        self.ends: dict[int, End] = {}
        self._last = first_sequence + len(lines) - 1
        self._unusable: list[int] = []
        self._numbers_of_ends: list[int] = []
        self._end_rows: list[tuple[int | str | bytes, ...]] = []
        for number, line in enumerate(lines, first_sequence):
            if isinstance(line, Start):
                self._read_start(number, line)
            else:
                self._read_end(number, line)

    def last(self, known: int) -> int:
        """The number of the last line that is in the books, once these are. `known` are there already."""
        return max(known, self._last)

    def start_rows(self) -> list[tuple[int | str | bytes, ...]]:
        """As the statement that starts exchanges has them."""
        return [line.row() for line in self.starts.values()]

    def end_rows(self) -> Sequence[tuple[int | str | bytes, ...]]:
        """As the statement that ends exchanges has them."""
        return self._end_rows

    def unusable(self, known: int) -> int:
        """How many start lines after the line `known` cannot be used."""
        return _count_after(known, self._unusable)

    def number_of_ends(self, known: int) -> int:
        """How many end lines there are after the line `known`."""
        return _count_after(known, self._numbers_of_ends)

    def _read_start(self, number: int, line: Start) -> None:
        if read := _read(number, line, self.now):
            self.starts[number] = read
        else:
            self._unusable.append(number)

    def _read_end(self, number: int, line: End) -> None:
        self._numbers_of_ends.append(number)
        if line.start_sequence not in self.ends:
            self.ends[line.start_sequence] = line
            self._end_rows.append((number, self.node, line.start_sequence, line.outcome, size(line)))


def size(line: End) -> int:
    """The bytes of an exchange in both directions."""
    return min(line.request_bytes + line.response_bytes, MAX_AMOUNT)


def _count_after(known: int, numbers: Iterable[int]) -> int:
    return sum(number > known for number in numbers)


def _read(sequence: int, line: Start, now: int) -> Reserving | None:
    try:
        envelope = parse_envelope(line.envelope)
    except EnvelopeError:
        return None
    # The client chose issued_at, so it does not decide how long units are held. A watermark goes by it, and
    # the bridge's clock may be ahead of this one.
    issued_at = min(envelope.issued_at, now + MAX_DEADLINE)
    expires_at = now + min(line.deadline_seconds, MAX_DEADLINE) + GRACE_SECONDS
    envelope_hash = hashlib.sha256(line.envelope).digest()
    return Reserving(sequence, line.lease, envelope_hash, envelope, issued_at, expires_at)
