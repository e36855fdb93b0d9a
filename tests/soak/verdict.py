"""What a process may keep of an ended exchange."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from .soak import Growth

BYTES_EACH: Final = 512
"""Of an exchange, over thousands of them. A bridge keeps its claim of some 150 bytes for five minutes. The
leak of one message would be four kilobytes."""

DESCRIPTORS: Final = 12
"""Connections to the provider come and go. A leak of one in each exchange would be hundreds."""

THREADS: Final = 4


SHORT_RUN: Final = 2_048
"""Bytes of an exchange, over a thousand of them. The allocators are still growing then."""


def complaints(growth: Mapping[str, Growth], bytes_each: int = BYTES_EACH) -> list[str]:
    """A sentence for each thing that grew too much."""
    return [
        f"{name} keeps {wrong}" for name, each in growth.items() for wrong in _wrong_with(each, bytes_each)
    ]


def _wrong_with(growth: Growth, bytes_each: int) -> Iterator[str]:
    if growth.bytes_each > bytes_each:
        yield f"{growth.bytes_each:,.0f} bytes of each exchange"
    if growth.descriptors > DESCRIPTORS:
        yield f"{growth.descriptors} descriptors"
    if growth.threads > THREADS:
        yield f"{growth.threads} threads"
