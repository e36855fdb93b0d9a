"""The vectors of spec/vectors, as seeds and as keys that the fuzzer may hold."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]

NOW: Final = 1_800_000_000


@cache
def vector(path: str) -> dict[str, Any]:
    """The fields of one vector, by its path without suffix."""
    fields: dict[str, Any] = json.loads((ROOT / "spec" / "vectors" / f"{path}.json").read_text("utf-8"))
    return fields


def every(kind: str) -> Iterator[dict[str, Any]]:
    """All vectors of a kind, by name."""
    for path in sorted((ROOT / "spec" / "vectors" / kind).glob("*.json")):
        yield vector(f"{kind}/{path.stem}")


def raw(text: str) -> bytes:
    """Bytes from a vector's hexadecimal text."""
    return bytes.fromhex(text)
