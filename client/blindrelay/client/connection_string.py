"""Reads a connection string, also one that was pasted from a mail, a chat or a shell."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from blindrelay.client.errors import ConfigurationError

SCHEME: Final = "blindrelay"

OPTIONS: Final = (
    "bridge",
    "token",
    "tls",
    "ca",
    "proxy",
    "credentials",
    "keys",
    "deadline",
    "first_byte",
    "idle",
    "history",
    "bills",
    "max_units",
    "headers",
    "cache_salt",
    "provider",
    "shape",
)

_DEFAULT_PORT: Final = 443
_FORM: Final = "a connection string has the form blindrelay://TOKEN@relay.example:443?bridge=br1…"

_LINE_BREAK: Final = re.compile(r"\s*[\r\n]\s*")
_AROUND: Final = "\"'`<> \t\r\n\u00a0\u200b\ufeff\u2018\u2019\u201c\u201d"
"""Characters that are pasted along: brackets, quotes, spaces, line ends, invisible characters."""


def looks_like_connection_string(text: str) -> bool:
    """Whether the text is meant as a connection string, and not as a relay's address."""
    return text.strip(_AROUND).lower().startswith(f"{SCHEME}://")


def connection_settings(text: str) -> dict[str, str]:
    """The settings in a connection string, named as in a profile: relay = "host:port", token, options.

    Raises ConfigurationError, which never contains the token.
    """
    try:
        parts = urlsplit(_LINE_BREAK.sub("", text.strip(_AROUND)))
        relay = address_text(*_host_and_port(parts))
        options = parse_qs(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise ConfigurationError(_FORM) from None
    if parts.scheme != SCHEME or parts.path not in ("", "/") or parts.fragment:
        raise ConfigurationError(_FORM)
    if parts.password is not None:
        raise ConfigurationError("a connection string has a token before the @, not a user and a password")
    settings = _single(options)
    if parts.username is not None:
        if "token" in settings:
            raise ConfigurationError(
                "the connection string has two tokens: keep the one before the @ or token=@FILE"
            )
        settings["token"] = unquote(parts.username).strip()
    elif "token" in settings and not settings["token"].startswith("@"):
        raise ConfigurationError("write the token before the @, or in a file: token=@FILE")
    return {"relay": relay} | settings


def relay_address(text: str) -> tuple[str, int]:
    """The host and port of "host:port" or "host", with port 443 by default. Raises ConfigurationError."""
    text = text.strip(_AROUND)
    try:
        parts = urlsplit(f"//{text}")
        if parts.netloc != text or "@" in text:
            raise ValueError
        return _host_and_port(parts)
    except ValueError:
        raise ConfigurationError("the relay's address is HOST:PORT") from None


def address_text(host: str, port: int) -> str:
    """ "host:port", with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _host_and_port(parts: SplitResult) -> tuple[str, int]:
    """Raises ValueError if there is no host, or no port from 1 to 65535."""
    host = (parts.hostname or "").strip(_AROUND)
    if not host or parts.port == 0 or re.search(r"\s", host):
        raise ValueError
    return host, parts.port or _DEFAULT_PORT


def _single(options: dict[str, list[str]]) -> dict[str, str]:
    settings = {}
    for name, values in options.items():
        name = name.strip()
        if name not in OPTIONS:
            raise ConfigurationError(
                f"a connection string has no option {name!r}; it has {', '.join(OPTIONS)}"
            )
        if len(values) != 1 or name in settings:
            raise ConfigurationError(f"the option {name!r} is given twice")
        settings[name] = values[0].strip()
    return settings
