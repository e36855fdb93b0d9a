"""The columns of a batch as PostgreSQL takes them: one array each, in its binary format.

psycopg writes arrays as text, value by value. That costs more than what the server does with a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from struct import Struct, pack
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    import psycopg


class Array(NamedTuple):
    """An array's type, and the number of its elements' type (pg_type.dat)."""

    name: str
    element: int


ARRAYS: Final = {
    "INTEGER": Array("bigint[]", 20),
    "TEXT": Array("text[]", 25),
    "BLOB": Array("bytea[]", 17),
}

_HEAD: Final = Struct("!iiIii")
"""Dimensions, whether there is a NULL, the elements' type; then length and first index (array_send)."""
_LENGTH: Final = Struct("!i")


@dataclass(frozen=True)
class Column:
    """The values of one column. `kind` is INTEGER, TEXT or BLOB."""

    kind: str
    values: Sequence[Any]

    def encoded(self) -> bytes:
        """As array_recv reads it: a head, then each value after its length."""
        head = _HEAD.pack(1, 0, ARRAYS[self.kind].element, len(self.values), 1)
        if self.kind == "INTEGER":
            lengths_and_values = chain.from_iterable(zip(repeat(8), self.values))
            return head + pack("!" + "iq" * len(self.values), *lengths_and_values)
        values = self.values if self.kind == "BLOB" else [value.encode() for value in self.values]
        pairs = ((_LENGTH.pack(len(value)), value) for value in values)
        return b"".join((head, *chain.from_iterable(pairs)))


def register_columns(connection: psycopg.Connection[Any]) -> None:
    """Lets the connection's statements take a Column as a parameter."""
    from psycopg.adapt import Dumper
    from psycopg.pq import Format

    class ColumnDumper(Dumper):
        format = Format.BINARY

        def dump(self, obj: Column) -> bytes:
            return obj.encoded()

    connection.adapters.register_dumper(Column, ColumnDumper)
