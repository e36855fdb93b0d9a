"""The values of connection options: choices, times and lists of names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, TypeVar

from blindrelay.client.errors import ConfigurationError
from blindrelay.trust import IdentityError, parse_identity
from blindrelay.v1.envelope import is_unit_limit
from blindrelay.v1.inner_pb2 import Credential, DeadlineClass, ShapingProfile
from blindrelay.v1.limits import DEFAULT_MAX_UNITS

T = TypeVar("T")

DEADLINES: Final = {
    "1m": DeadlineClass.DEADLINE_CLASS_MINUTE,
    "10m": DeadlineClass.DEADLINE_CLASS_TEN_MINUTES,
    "1h": DeadlineClass.DEADLINE_CLASS_HOUR,
    "6h": DeadlineClass.DEADLINE_CLASS_SIX_HOURS,
}
CREDENTIALS: Final = {
    "injected": Credential.CREDENTIAL_INJECTED,
    "brought": Credential.CREDENTIAL_BROUGHT,
}
SHAPES: Final = {
    "off": ShapingProfile.SHAPING_PROFILE_OFF,
    "balanced": ShapingProfile.SHAPING_PROFILE_BALANCED,
    "strict": ShapingProfile.SHAPING_PROFILE_STRICT,
}
SWITCH: Final = {"on": True, "off": False}

_UNITS: Final = {"s": 1, "m": 60, "h": 3_600}

# RFC 9110, section 5.1. IPv6 addresses are given without brackets.
_HEADER: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9a-z]+")
_HOST: Final = re.compile(r"[0-9a-z._-]+|[0-9a-f:.]*:[0-9a-f:.]*")
_PROVIDER: Final = re.compile(r"[a-z][a-z0-9-]*")
_KEY: Final = re.compile(r"(?P<provider>[A-Za-z0-9._-]{1,64})[ \t]+(?P<key>[!-~]{1,4096})")
_OFF: Final = "off"


def bridge_identity(text: str | None) -> bytes:
    """The public key of "br1…", 32 bytes. Raises ConfigurationError."""
    if not text:
        raise ConfigurationError(
            "no bridge is pinned: add bridge=br1… (`blindrelay-bridge identity` prints it to its operator)"
        )
    try:
        return parse_identity(text)
    except IdentityError as error:
        raise ConfigurationError(f"bridge: {error}") from None


def choice(option: str, value: str, choices: Mapping[str, T]) -> T:
    """The value of a name. Raises ConfigurationError."""
    if value.lower() not in choices:
        raise ConfigurationError(f"{option} is one of {', '.join(choices)}, not {value!r}")
    return choices[value.lower()]


def seconds(option: str, value: str | None) -> float | None:
    """The seconds of "90s", "45m" or "1h". Raises ConfigurationError."""
    if value is None:
        return None
    number, unit = value[:-1].strip(), value[-1:].lower()
    if unit not in _UNITS or not number.isascii() or not number.isdigit() or not 0 < int(number) < 100_000:
        raise ConfigurationError(f"{option} is a time, such as 90s, 45m or 1h, not {value!r}")
    return float(int(number) * _UNITS[unit])


def unit_limit(option: str, value: str | None) -> int:
    """The most units of an exchange, on the ladder; by default 1,000,000. Raises ConfigurationError."""
    if value is None:
        return DEFAULT_MAX_UNITS
    if not (value.isascii() and value.isdigit() and len(value) < 20 and is_unit_limit(int(value))):
        raise ConfigurationError(f"{option} is 1, 2 or 5 times a power of ten, such as 20000, not {value!r}")
    return int(value)


def header_names(value: str | None) -> frozenset[str]:
    """The names in ``headers``, in lower case. Raises ConfigurationError."""
    return _names("headers", value, _HEADER)


def salted_hosts(value: str | None) -> frozenset[str] | None:
    """The hosts in ``cache_salt``, in lower case; None for ``off``. Raises ConfigurationError."""
    return None if value == _OFF else _names("cache_salt", value, _HOST)


def provider_name(value: str) -> str:
    """The name in ``provider``. Raises ConfigurationError."""
    if not _PROVIDER.fullmatch(value):
        raise ConfigurationError(f"provider is a name such as openai or models, not {value!r}")
    return value


def own_keys(path: str, text: str) -> tuple[tuple[str, str], ...]:
    """The providers and keys in the file of ``keys``: one "PROVIDER KEY" a line, and comments with #.

    Raises ConfigurationError, which never contains a key.
    """
    keys: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        found = _KEY.fullmatch(line.strip())
        if found is None:
            raise ConfigurationError(f'keys: line {number} of {path} is not "PROVIDER KEY"')
        if keys.setdefault(found["provider"], found["key"]) != found["key"]:
            raise ConfigurationError(f"keys: {path} has two keys for {found['provider']}")
    if not keys:
        raise ConfigurationError(f'keys: {path} has no line "PROVIDER KEY"')
    return tuple(keys.items())


def _names(option: str, value: str | None, form: re.Pattern[str]) -> frozenset[str]:
    names = [] if value is None else [name.strip().lower() for name in value.split(",")]
    for name in names:
        if not form.fullmatch(name):
            raise ConfigurationError(
                f"{option} is a list of names, separated by commas; {name!r} is not a name"
            )
    return frozenset(names)
