"""What a process may keep of an exchange that is over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from .soak import Growth

BYTES_EACH: Final = 512
"""Of an exchange, over thousands of them. A bridge keeps its claim, some 150 bytes, for five minutes; a
leak of one message would be four kilobytes."""

DESCRIPTORS: Final = 12
"""Connections to the provider come and go; a leak of one in each exchange would be hundreds."""

THREADS: Final = 4


SHORT_RUN: Final = 2_048
"""Bytes of an exchange, over a thousand of them: the allocators have not found their size by then."""


def complaints(growth: Mapping[str, Growth], bytes_each: int = BYTES_EACH) -> list[str]:
    """What grew that may not, a sentence each."""
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
