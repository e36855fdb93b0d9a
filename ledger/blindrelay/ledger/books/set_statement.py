"""A statement for all rows of a batch: an engine prepares it once and runs it once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

Rows = Sequence[tuple[int | str | bytes, ...]]
"""A value for each column."""


@dataclass(frozen=True)
class SetStatement:
    """Reads the batch as a table with the name `given`.

    An UPDATE applies one row of the batch to a row of the books. If several fit it, nobody knows which.

    Attributes:
        columns: of `given`, with their types: "account INTEGER, kind TEXT". None of them is ever NULL.
        text: the statement.
    """

    columns: str
    text: str

    @cached_property
    def types(self) -> dict[str, str]:
        """INTEGER, TEXT or BLOB, by column."""
        return dict(column.split() for column in self.columns.split(","))

    @cached_property
    def names(self) -> str:
        """The columns, as a statement lists them."""
        return ", ".join(self.types)

    @cached_property
    def returns_rows(self) -> bool:
        """Whether the statement has a result."""
        return "RETURNING" in self.text or self.text.split()[0] == "SELECT"


@dataclass(frozen=True)
class Batch:
    """A statement, and the rows that it reads. Without rows it is not run."""

    statement: SetStatement
    rows: Rows
