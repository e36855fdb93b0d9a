"""The connection's options whose value is a list of names."""

from __future__ import annotations

import re
from typing import Final

from blindrelay.client.errors import ConfigurationError

# RFC 9110, section 5.1. A colon is in IPv6 addresses only, which stand here without their brackets.
_HEADER: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9a-z]+")
_HOST: Final = re.compile(r"[0-9a-z._-]+|[0-9a-f:.]*:[0-9a-f:.]*")
_OFF: Final = "off"


def header_names(value: str | None) -> frozenset[str]:
    """The names in ``headers``, lower-case. Raises ConfigurationError."""
    return _names("headers", value, _HEADER)


def salted_hosts(value: str | None) -> frozenset[str] | None:
    """The names in ``cache_salt``, lower-case; None for ``off``. Raises ConfigurationError."""
    return None if value == _OFF else _names("cache_salt", value, _HOST)


def _names(option: str, value: str | None, form: re.Pattern[str]) -> frozenset[str]:
    names = [] if value is None else [name.strip().lower() for name in value.split(",")]
    for name in names:
        if not form.fullmatch(name):
            raise ConfigurationError(f"{option} is a list of names with commas between; {name!r} is not one")
    return frozenset(names)
