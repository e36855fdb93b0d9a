"""Times, amounts and rates as an operator types them."""

from __future__ import annotations

import argparse
import re
import time
from datetime import UTC, datetime
from typing import Final

MAX_AMOUNT: Final = 2**62
"""The most units, exchanges or bytes: half of what the books' integers hold."""

_SPAN: Final = re.compile(r"([1-9][0-9]{0,5})([mhdwy])")
_SECONDS: Final = {"m": 60, "h": 3_600, "d": 86_400, "w": 604_800, "y": 31_536_000}
_RATE: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(?:/(s|m|h))?")
_PER: Final = {"s": 1, "m": 60, "h": 3_600}

NONE: Final = "none"
"""Typed to remove a limit."""


def expiry(text: str) -> int:
    """Unix seconds from "30d" (m, h, d, w, y from now) or "2030-12-31" (the end of that day, UTC)."""
    if span := _SPAN.fullmatch(text):
        return int(time.time()) + int(span[1]) * _SECONDS[span[2]]
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f'"{text}" is not a time: write 30d, 12h or a date such as 2030-12-31'
        ) from None
    seconds = int(day.timestamp()) + 86_400
    if seconds <= time.time():
        raise argparse.ArgumentTypeError(f"{text} is in the past")
    return seconds


def month(text: str) -> str:
    """A month: "2026-11"."""
    try:
        return datetime.strptime(text, "%Y-%m").strftime("%Y-%m")
    except ValueError:
        raise argparse.ArgumentTypeError(f'"{text}" is not a month: write 2026-11') from None


def amount(text: str) -> int:
    """A whole number of 0 or more, with "_" between digits if that helps."""
    digits = text.replace("_", "")
    if not (digits.isascii() and digits.isdigit() and int(digits) <= MAX_AMOUNT):
        raise argparse.ArgumentTypeError(f'"{text}" is not a whole number from 0 to {MAX_AMOUNT}')
    return int(digits)


def signed_amount(text: str) -> int:
    """As amount, or below 0."""
    try:
        return -amount(text[1:]) if text.startswith("-") else amount(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f'"{text}" is not a whole number from -{MAX_AMOUNT} to {MAX_AMOUNT}'
        ) from None


def count(text: str) -> int:
    """A whole number from 1 to 1,000."""
    number = amount(text)
    if not 1 <= number <= 1_000:
        raise argparse.ArgumentTypeError(f'"{text}" is not a number from 1 to 1000')
    return number


def amount_or_none(text: str) -> int | None:
    """As amount, or "none" to remove a limit."""
    return None if text == NONE else amount(text)


def rate_or_none(text: str) -> float | None:
    """Exchanges per second from "5/s" or "300/m", or "none" to remove the limit."""
    if text == NONE:
        return None
    found = _RATE.fullmatch(text)
    if found is None or not float(found[1]):
        raise argparse.ArgumentTypeError(f'"{text}" is not a rate: write 5/s, 300/m or none')
    return float(found[1]) / _PER[found[2] or "s"]


def day(seconds: int) -> str:
    """A date for people, or "-" for 0."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d") if seconds else "-"


def minute(seconds: int) -> str:
    """A date and time for people, or "-" for 0."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M") if seconds else "-"
