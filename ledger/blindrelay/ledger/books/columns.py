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
    """A parameter that is encoded already."""

    array: bytes


def column(kind: str, values: Sequence[Any]) -> Column:
    """The values as array_recv reads them: a head, then each after its length.

    `kind` is INTEGER, TEXT or BLOB.
    """
    head = _HEAD.pack(1, 0, ARRAYS[kind].element, len(values), 1)
    if kind == "INTEGER":
        lengths_and_values = chain.from_iterable(zip(repeat(8), values))
        return Column(head + pack("!" + "iq" * len(values), *lengths_and_values))
    blobs = values if kind == "BLOB" else [value.encode() for value in values]
    lengths = [len(blob) for blob in blobs]
    if min(lengths) == max(lengths):
        length = _LENGTH.pack(lengths[0])
        return Column(head + length + length.join(blobs))
    pairs = zip(map(_LENGTH.pack, lengths), blobs, strict=True)
    return Column(b"".join((head, *chain.from_iterable(pairs))))


def register_columns(connection: psycopg.Connection[Any]) -> None:
    """Lets the connection's statements take a Column as a parameter."""
    from psycopg.adapt import Dumper
    from psycopg.pq import Format

    class ColumnDumper(Dumper):
        format = Format.BINARY

        def dump(self, obj: Column) -> bytes:
            return obj.array

    connection.adapters.register_dumper(Column, ColumnDumper)
