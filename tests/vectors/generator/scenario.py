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
        return json.dumps(stated | _hexadecimal(self.fields), indent=2) + "\n"


def _hexadecimal(value: Any) -> Any:
    """Bytes as hexadecimal text, wherever they stand."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {name: _hexadecimal(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_hexadecimal(each) for each in value]
    return value
