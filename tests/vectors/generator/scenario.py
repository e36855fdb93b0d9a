"""What a vector is: one scenario, in one file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Scenario:
    """One file: its folder is the kind, its name what happens, its fields what README.md lists."""

    kind: str
    name: str
    comment: str
    expect: str
    fields: dict[str, Any]

    @property
    def path(self) -> str:
        return f"{self.kind}/{self.name}.json"

    @property
    def text(self) -> str:
        stated = {"kind": self.kind, "comment": self.comment, "expect": self.expect}
        return json.dumps(stated | _stated(self.fields), indent=2) + "\n"


_UINT64 = frozenset(
    {
        "cost",
        "expires_at",
        "issued_at",
        "length",
        "max_units",
        "not_after",
        "not_before",
        "now",
        "padded",
        "sent",
        "sequence",
        "started_at",
        "units",
    }
)
"""Fields of 64 bits. They are decimal text: many readers of JSON round numbers beyond 2^53."""


def _stated(value: Any, name: str = "") -> Any:
    """Bytes as hexadecimal text and numbers of 64 bits as decimal text, wherever they stand."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {name: _stated(each, name) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_stated(each) for each in value]
    return str(value) if name in _UINT64 else value
