"""Reads what a form of the pages sends, field by field."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final
from urllib.parse import parse_qsl

from starlette.requests import Request

from blindrelay.ledger.page.errors import FormError

MAX_FORM: Final = 16_384
"""Bytes of a form. The longest has a list of bridges, of sixty bytes each."""

MAX_FIELDS: Final = 64
"""Fields of a form."""

MAX_INTEGER: Final = 2**63 - 1
"""The largest number that the books hold."""


class Form:
    """The fields of one form. Each method raises FormError for a value of another kind."""

    def __init__(self, fields: dict[str, str]) -> None:
        self._fields = fields

    @classmethod
    async def read(cls, request: Request) -> Form:
        """Reads a request's body. Raises FormError if it is too large, or not a form."""
        body = b""
        async for piece in request.stream():
            body += piece
            if len(body) > MAX_FORM:
                raise FormError(f"the form is larger than {MAX_FORM} bytes")
        try:
            return cls(dict(parse_qsl(body.decode("ascii"), max_num_fields=MAX_FIELDS, errors="strict")))
        except ValueError:
            raise FormError("the request is not a form of this page") from None

    def text(self, name: str, called: str) -> str:
        """A field that is not empty. `called` names it in an error."""
        value = self.optional_text(name)
        if not value:
            raise FormError(f"{called} is missing")
        return value

    def optional_text(self, name: str) -> str:
        """A field without spaces at its ends; empty if it is absent."""
        return self._fields.get(name, "").strip()

    def words(self, name: str) -> list[str]:
        """The words of a field, which spaces, commas or new lines part."""
        return self._fields.get(name, "").replace(",", " ").split()

    def integer(self, name: str, called: str, *, minimum: int = 0, maximum: int = MAX_INTEGER) -> int:
        """A whole number; spaces, commas and apostrophes may group its digits."""
        value = self.optional_integer(name, called, minimum=minimum, maximum=maximum)
        if value is None:
            raise FormError(f"{called} is missing")
        return value

    def optional_integer(
        self, name: str, called: str, *, minimum: int = 0, maximum: int = MAX_INTEGER
    ) -> int | None:
        """As integer(), or None if the field is empty."""
        text = "".join(each for each in self.optional_text(name) if each not in " ,'\u00a0\u202f")
        return _integer(text, called, minimum, maximum) if text else None

    def integers(self, name: str, called: str, *, maximum: int) -> list[int]:
        """The whole numbers of a field, from 0 on, parted as words are."""
        return [_integer(each, called, 0, maximum) for each in self.words(name)]

    def optional_number(self, name: str, called: str) -> float | None:
        """A number above 0, or None if the field is empty."""
        text = self.optional_text(name)
        if not text:
            return None
        try:
            value = float(text)
        except ValueError:
            value = -1
        if not 0 < value <= 1_000_000:
            raise FormError(f"{called} is a number above 0 and at most 1,000,000, such as 2.5")
        return value

    def end_of_day(self, name: str, called: str) -> int | None:
        """The end of a day "YYYY-MM-DD" in UTC, in Unix seconds, or None if the field is empty."""
        text = self.optional_text(name)
        if not text:
            return None
        try:
            day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
        except ValueError:
            raise FormError(f"{called} is a day, such as 2030-12-31") from None
        return int(day.timestamp()) + 86_399


def _integer(text: str, called: str, minimum: int, maximum: int) -> int:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 20):
        raise FormError(f"{called} is a whole number, such as 1000")
    if not minimum <= int(text) <= maximum:
        raise FormError(f"{called} is from {minimum:,} to {maximum:,}")
    return int(text)
