"""How to reach a relay and which bridge to trust, from a connection string, the environment or a profile.

A connection string has the form ``blindrelay://TOKEN@relay.example:443?bridge=br1…``. The options:

=============== ==========================================================================
``bridge``      the bridge's identity; required, from its operator and not from the relay
``token``       ``@FILE``: read the token from a file, instead of ``TOKEN@``
``tls``         ``off`` for a relay on this machine (on by default)
``ca``          a file of root certificates, for a relay with a private one
``proxy``       ``http://[USER:PASSWORD@]HOST:PORT``, a proxy to reach the relay, or ``off``
``credentials`` ``brought``: send your own provider key, sealed; ``injected``: use the bridge's
``keys``        a file with your own keys, one ``PROVIDER KEY`` a line, for all models of a bridge
``deadline``    ``1m``, ``10m``, ``1h`` (default) or ``6h``: an overall limit
``first_byte``  ``90s``, ``45m``, ``1h``…: a limit for the beginning of a response
``idle``        a limit for each pause after it; both replace a request's read timeout
``history``     the file for the history of the bridge's keys, or ``off``
``bills``       ``off``: do not keep what exchanges cost (``on`` by default)
``max_units``   the most that one exchange may cost, as a relay may require (1000000 by default)
``headers``     names of further headers to send if the bridge allows them, separated by commas
``cache_salt``  hosts whose prompt cache takes a salt as vLLM does; ``off``: no salts
``provider``    whose API commands and endpoint use unless told otherwise; ``models``: the bridge's own
``shape``       ``balanced`` (default), ``strict`` or ``off``: what sizes and times of responses show
=============== ==========================================================================
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from blindrelay.client.configured_files import expanded, read_file, read_secret
from blindrelay.client.connection_options import (
    CREDENTIALS,
    DEADLINES,
    SHAPES,
    SWITCH,
    bridge_identity,
    choice,
    header_names,
    own_keys,
    provider_name,
    salted_hosts,
    seconds,
    unit_limit,
)
from blindrelay.client.connection_string import OPTIONS, address_text, connection_settings, relay_address
from blindrelay.client.errors import ConfigurationError
from blindrelay.client.state_file import user_folder
from blindrelay.v1.http_proxy import HttpProxy
from blindrelay.v1.inner_pb2 import Credential, DeadlineClass, ShapingProfile
from blindrelay.v1.limits import DEFAULT_MAX_UNITS
from blindrelay.v1.loopback import is_loopback
from blindrelay.v1.text_file import EncodingError, decode_text

_NEITHER: Final = ("true", "false", "yes", "no", "none", "0", "1", "")
"""Words that are not taken for the name of a file."""
_FILES: Final = frozenset({"ca", "keys"})
_PROFILE_KEYS: Final = ("relay", "token_file", *OPTIONS)

DEFAULT_PROVIDER: Final = "openai"
"""Whose API is used if neither a command nor the connection says more."""

CONNECTION_VARIABLE: Final = "BLINDRELAY_CONNECTION"
PROFILE_VARIABLE: Final = "BLINDRELAY_PROFILE"
CONFIG_VARIABLE: Final = "BLINDRELAY_CONFIG"
PROXY_VARIABLE: Final = "BLINDRELAY_PROXY"


@dataclass(frozen=True)
class ConnectionConfig:
    """A relay, the token for it, and the bridge behind it.

    Raises ConfigurationError if `tls` is off for a relay on another machine.

    Attributes:
        host, port: the relay's.
        identity: the bridge's Ed25519 public key, 32 bytes: the pin.
        token: the relay's access token; never shown.
        tls: off only for a relay on this machine.
        ca: file of root certificates in PEM, instead of gRPC's own.
        proxy: the HTTP proxy to reach the relay; HTTPS_PROXY and similar variables are not used.
        credential: a Credential.
        keys: the user's own, by provider, for the address with all models of a bridge; never shown.
        deadline_class: a DeadlineClass.
        first_byte, idle: time limits in seconds; None leaves them to each request.
        history: the file for the key history; True for the default file, False for none.
        bills: whether to keep what exchanges cost, in a file (see bill_journal.py).
        max_units: the most units of one exchange: 1, 2 or 5 times a power of ten.
        headers: lower-case names of headers that are sent in addition to the protocol's own.
        cache_salt: lower-case hosts whose prompt cache takes a salt as vLLM does; None for no salts.
        shape: a ShapingProfile.
        provider: whose API commands and endpoint use by default.
    """

    host: str
    port: int
    identity: bytes = field(repr=False)
    token: str | None = field(default=None, repr=False)
    tls: bool = True
    ca: Path | None = None
    proxy: HttpProxy | None = None
    credential: Credential.ValueType = Credential.CREDENTIAL_INJECTED
    keys: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    deadline_class: DeadlineClass.ValueType = DeadlineClass.DEADLINE_CLASS_HOUR
    first_byte: float | None = None
    idle: float | None = None
    history: Path | bool = True
    bills: bool = True
    max_units: int = DEFAULT_MAX_UNITS
    headers: frozenset[str] = frozenset()
    cache_salt: frozenset[str] | None = frozenset()
    shape: ShapingProfile.ValueType = ShapingProfile.SHAPING_PROFILE_BALANCED
    provider: str = DEFAULT_PROVIDER

    def __post_init__(self) -> None:
        if not self.tls and not is_loopback(self.host):
            raise ConfigurationError(
                "tls=off is for a relay on this machine: the token would travel in clear"
            )
        if not self.tls and self.proxy is not None:
            raise ConfigurationError("tls=off is for a relay on this machine, which needs no proxy")
        if self.keys and self.credential != Credential.CREDENTIAL_BROUGHT:
            raise ConfigurationError(
                "keys is for keys of your own: add credentials=brought, or leave keys out"
            )

    @property
    def target(self) -> str:
        """The relay's address for gRPC."""
        return address_text(self.host, self.port)

    @classmethod
    def from_string(cls, text: str) -> ConnectionConfig:
        """Reads a connection string. Raises ConfigurationError, which never contains the token."""
        return cls.from_settings(connection_settings(text))

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> ConnectionConfig:
        """Reads BLINDRELAY_CONNECTION, or else the profile in BLINDRELAY_PROFILE ("default" by default).

        Profiles are tables of a TOML file, BLINDRELAY_CONFIG or ~/.config/blindrelay/config.toml.
        Raises ConfigurationError.
        """
        if text := environ.get(CONNECTION_VARIABLE):
            return cls.from_string(text)
        path = profile_file(environ)
        if not path.exists():
            raise ConfigurationError(
                "no relay is configured: run `blindrelay init`, "
                f"or set {CONNECTION_VARIABLE} to a connection string"
            )
        return cls.from_profile(path, profile_name(environ))

    @classmethod
    def from_profile(cls, path: Path, name: str) -> ConnectionConfig:
        """Reads ``[profiles.NAME]`` of a TOML file: relay = "host:port", bridge, token_file, …

        Relative paths are relative to the folder of that file. Raises ConfigurationError.
        """
        settings = read_profile(path, name)
        try:
            relay_address(settings.get("relay", ""))
        except ConfigurationError:
            raise ConfigurationError(f'{path}: profile {name!r} needs relay = "host:port"') from None
        for key in _FILES & settings.keys():
            settings[key] = _beside(path, settings[key])
        history = settings.get("history", "on").lower()
        if history not in SWITCH and history not in _NEITHER:
            settings["history"] = _beside(path, settings["history"])
        if "token_file" in settings:
            if "token" in settings:
                raise ConfigurationError(
                    f"{path}: profile {name!r} has two tokens: leave token or token_file out"
                )
            settings["token"] = "@" + _beside(path, settings.pop("token_file"))
        elif "token" in settings:
            read_secret("token", str(path))
        return cls.from_settings(settings)

    @classmethod
    def from_settings(cls, settings: Mapping[str, str]) -> ConnectionConfig:
        """Reads the settings of a connection string by name. "relay" is "host:port".

        Raises ConfigurationError.
        """
        host, port = relay_address(settings["relay"])
        ca = settings.get("ca")
        if ca is not None:
            read_file("ca", ca)
        return cls(
            host=host,
            port=port,
            identity=bridge_identity(settings.get("bridge")),
            token=_token(settings.get("token")),
            tls=choice("tls", settings.get("tls", "on"), SWITCH),
            ca=None if ca is None else Path(ca),
            proxy=_proxy(settings.get("proxy"), host),
            credential=choice("credentials", settings.get("credentials", "injected"), CREDENTIALS),
            keys=_keys(settings.get("keys")),
            deadline_class=choice("deadline", settings.get("deadline", "1h"), DEADLINES),
            first_byte=seconds("first_byte", settings.get("first_byte")),
            idle=seconds("idle", settings.get("idle")),
            history=_history(settings.get("history", "on")),
            bills=choice("bills", settings.get("bills", "on"), SWITCH),
            max_units=unit_limit("max_units", settings.get("max_units")),
            headers=header_names(settings.get("headers")),
            cache_salt=salted_hosts(settings.get("cache_salt")),
            shape=choice("shape", settings.get("shape", "balanced"), SHAPES),
            provider=provider_name(settings.get("provider", DEFAULT_PROVIDER)),
        )


def profile_file(environ: Mapping[str, str] = os.environ) -> Path:
    """The TOML file for profiles, which may not exist. Raises ConfigurationError."""
    if file := environ.get(CONFIG_VARIABLE):
        return Path(file)
    folder = user_folder("XDG_CONFIG_HOME", ".config", environ)
    if folder is None:
        raise ConfigurationError(
            f"no home directory: set {CONNECTION_VARIABLE}, or {CONFIG_VARIABLE} to a file of profiles"
        )
    return folder / "config.toml"


def profile_name(environ: Mapping[str, str] = os.environ) -> str:
    """The name of the profile to use."""
    return environ.get(PROFILE_VARIABLE, "default")


def read_profile(path: Path, name: str) -> dict[str, str]:
    """The settings in a profile, as text. Raises ConfigurationError."""
    try:
        profiles = tomllib.loads(decode_text(path.read_bytes())).get("profiles", {})
    except EncodingError as error:
        raise ConfigurationError(f"{path} {error}") from None
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"{path}: {error}") from None
    profile = profiles.get(name) if isinstance(profiles, dict) else None
    if not isinstance(profile, dict):
        raise ConfigurationError(f"{path} has no profile {name!r}")
    for key, value in profile.items():
        if key not in _PROFILE_KEYS:
            known = ", ".join(_PROFILE_KEYS)
            raise ConfigurationError(f"{path}: profile {name!r}: {key} is not one of {known}")
        if not isinstance(value, str):
            raise ConfigurationError(f"{path}: profile {name!r}: the value of {key} must be in quotes")
    return {key: value.strip() for key, value in profile.items()}


def _beside(file: Path, path: str) -> str:
    return str(file.parent / expanded(path))


def _token(text: str | None) -> str | None:
    if text is None:
        return None
    text = text.strip()
    token = read_secret("token", text[1:]).strip() if text.startswith("@") else text
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigurationError("the access token is empty or has invalid characters")
    return token


def _keys(path: str | None) -> tuple[tuple[str, str], ...]:
    return () if path is None else own_keys(path, read_secret("keys", path))


def _history(value: str) -> Path | bool:
    if value.lower() in _NEITHER:
        raise ConfigurationError(f"history is a file, on or off, not {value!r}")
    return SWITCH[value.lower()] if value.lower() in SWITCH else expanded(value)


def _proxy(value: str | None, host: str) -> HttpProxy | None:
    """The given proxy; by default that in BLINDRELAY_PROXY, for a relay on another machine."""
    source = "proxy"
    if value is None and not is_loopback(host):
        source, value = PROXY_VARIABLE, os.environ.get(PROXY_VARIABLE, "").strip()
    if not value or value.lower() == "off":
        return None
    try:
        return HttpProxy.parse(value)
    except ValueError as error:
        raise ConfigurationError(f"{source} {error}") from None
