"""How to reach a relay and whose key to trust: the connection string, the environment, a profile.

``blindrelay://TOKEN@relay.example:443?bridge=br1…`` says it all. Options after the ``?``:

=============== ==========================================================================
``bridge``      the bridge's identity, required: get it from its operator, not the relay
``token``       ``@FILE``: read the token from a file, instead of ``TOKEN@``
``tls``         ``off`` for a relay on this machine (on by default)
``ca``          a file of root certificates, for a relay with a private one
``credentials`` ``brought`` to send the provider's key sealed (``injected``: the bridge's)
``deadline``    ``1m``, ``10m``, ``1h`` (default) or ``6h``: an overall limit
``first_byte``  ``90s``, ``45m``, ``1h``…: how long an answer's beginning is waited for
``idle``        the same for whatever comes after it; both instead of a request's read timeout
``history``     ``off``, or a file: where to keep what was seen of the bridge's keys
``headers``     names of more headers to send, with commas between: where the bridge allows them
``cache_salt``  names of hosts whose prompt cache takes vLLM's salt; ``off`` for no salts at all
=============== ==========================================================================
"""

from __future__ import annotations

import ipaddress
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from blindrelay.client.errors import ConfigurationError
from blindrelay.client.name_options import header_names, salted_hosts
from blindrelay.sealing import IdentityError, parse_identity
from blindrelay.v1.inner_pb2 import Credential, DeadlineClass

T = TypeVar("T")

_DEADLINES: Final = {
    "1m": DeadlineClass.DEADLINE_CLASS_MINUTE,
    "10m": DeadlineClass.DEADLINE_CLASS_TEN_MINUTES,
    "1h": DeadlineClass.DEADLINE_CLASS_HOUR,
    "6h": DeadlineClass.DEADLINE_CLASS_SIX_HOURS,
}
_CREDENTIALS: Final = {
    "injected": Credential.CREDENTIAL_INJECTED,
    "brought": Credential.CREDENTIAL_BROUGHT,
}
_UNITS: Final = {"s": 1, "m": 60, "h": 3_600}
_SWITCH: Final = {"on": True, "off": False}
_OPTIONS: Final = (
    *("bridge", "token", "tls", "ca", "credentials", "deadline", "first_byte", "idle", "history"),
    *("headers", "cache_salt"),
)
_PROFILE_KEYS: Final = ("relay", "token_file", *_OPTIONS)
_DEFAULT_PORT: Final = 443

CONNECTION_VARIABLE: Final = "BLINDRELAY_CONNECTION"
PROFILE_VARIABLE: Final = "BLINDRELAY_PROFILE"
CONFIG_VARIABLE: Final = "BLINDRELAY_CONFIG"


@dataclass(frozen=True)
class Connection:
    """A relay, the token for it, and the bridge behind it. Raises ConfigurationError for tls off elsewhere.

    Attributes:
        host, port: the relay's.
        identity: the bridge's Ed25519 public key, 32 bytes: the pin.
        token: the relay's access token; never shown.
        tls: off only for a relay on this machine.
        ca: file of root certificates in PEM, instead of gRPC's own.
        credential: a Credential.
        deadline_class: a DeadlineClass.
        first_byte, idle: seconds for an answer's beginning, and for what follows; None: as requests say.
        history: the file for what was seen of the bridge's keys; True for the usual one, False for none.
        headers: names, in lower case, of headers that are sent beside the protocol's own.
        cache_salt: hosts, in lower case, whose prompt cache takes vLLM's salt; None for no salts at all.
    """

    host: str
    port: int
    identity: bytes = field(repr=False)
    token: str | None = field(default=None, repr=False)
    tls: bool = True
    ca: Path | None = None
    credential: Credential.ValueType = Credential.CREDENTIAL_INJECTED
    deadline_class: DeadlineClass.ValueType = DeadlineClass.DEADLINE_CLASS_HOUR
    first_byte: float | None = None
    idle: float | None = None
    history: Path | bool = True
    headers: frozenset[str] = frozenset()
    cache_salt: frozenset[str] | None = frozenset()

    def __post_init__(self) -> None:
        if not self.tls and not _is_loopback(self.host):
            raise ConfigurationError(
                "tls=off is for a relay on this machine: the token would travel in clear"
            )

    @property
    def target(self) -> str:
        """The relay's address, as gRPC takes it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @classmethod
    def from_string(cls, text: str) -> Connection:
        """Reads a connection string. Raises ConfigurationError, which never repeats the token."""
        try:
            parts = urlsplit(text)
            host, port = _host_and_port(parts)
            options = parse_qs(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        except ValueError:
            raise ConfigurationError(_FORM) from None
        if parts.scheme != "blindrelay" or parts.path not in ("", "/") or parts.fragment:
            raise ConfigurationError(_FORM)
        if parts.password is not None:
            raise ConfigurationError("a connection string has a token before the @, and no password")
        for name, values in options.items():
            if name not in _OPTIONS:
                known = ", ".join(_OPTIONS)
                raise ConfigurationError(f"a connection string has no option {name!r}; it has {known}")
            if len(values) != 1:
                raise ConfigurationError(f"a connection string has the option {name!r} once")
        settings = {name: values[0] for name, values in options.items()}
        if parts.username is not None:
            if "token" in settings:
                raise ConfigurationError("a connection string has one token: before the @, or token=@FILE")
            settings["token"] = unquote(parts.username)
        elif "token" in settings and not settings["token"].startswith("@"):
            raise ConfigurationError("a token stands before the @, or in a file: token=@FILE")
        return cls._from_settings(host, port, settings)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Connection:
        """Reads BLINDRELAY_CONNECTION; or the profile named by BLINDRELAY_PROFILE (default "default").

        Profiles are tables of a TOML file, BLINDRELAY_CONFIG or ~/.config/blindrelay/config.toml.
        Raises ConfigurationError.
        """
        if text := environ.get(CONNECTION_VARIABLE):
            return cls.from_string(text)
        path = profile_file(environ)
        if not path.exists():
            raise ConfigurationError(
                f"no relay is configured: set {CONNECTION_VARIABLE} to a connection string, or write {path}"
            )
        return cls.from_profile(path, profile_name(environ))

    @classmethod
    def from_profile(cls, path: Path, name: str) -> Connection:
        """Reads ``[profiles.NAME]`` of a TOML file: relay = "host:port", bridge, token_file, …

        Relative paths are taken from the folder of that file. Raises ConfigurationError.
        """
        settings = read_profile(path, name)
        relay = settings.pop("relay", "")
        try:
            address = urlsplit("//" + relay)
            host, port = _host_and_port(address)
        except ValueError:
            raise ConfigurationError(f'{path}: profile {name!r} needs relay = "host:port"') from None
        if address.netloc != relay or "@" in relay:
            raise ConfigurationError(f'{path}: profile {name!r} needs relay = "host:port", and no more')
        if "ca" in settings:
            settings["ca"] = _beside(path, settings["ca"])
        if settings.get("history", "on") not in _SWITCH:
            settings["history"] = _beside(path, settings["history"])
        if "token_file" in settings:
            if "token" in settings:
                raise ConfigurationError(f"{path}: profile {name!r} has one token: token or token_file")
            settings["token"] = "@" + _beside(path, settings.pop("token_file"))
        return cls._from_settings(host, port, settings)

    @classmethod
    def _from_settings(cls, host: str, port: int, settings: Mapping[str, str]) -> Connection:
        ca = settings.get("ca")
        if ca is not None:
            _read("ca", ca)
        return cls(
            host=host,
            port=port,
            identity=_identity(settings.get("bridge")),
            token=_token(settings.get("token")),
            tls=_choice("tls", settings.get("tls", "on"), _SWITCH),
            ca=None if ca is None else Path(ca),
            credential=_choice("credentials", settings.get("credentials", "injected"), _CREDENTIALS),
            deadline_class=_choice("deadline", settings.get("deadline", "1h"), _DEADLINES),
            first_byte=_seconds("first_byte", settings.get("first_byte")),
            idle=_seconds("idle", settings.get("idle")),
            history=_history(settings.get("history", "on")),
            headers=header_names(settings.get("headers")),
            cache_salt=salted_hosts(settings.get("cache_salt")),
        )


def profile_file(environ: Mapping[str, str] = os.environ) -> Path:
    """The TOML file with the profiles, whether it is there or not."""
    base = Path(environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return Path(environ.get(CONFIG_VARIABLE) or base / "blindrelay" / "config.toml")


def profile_name(environ: Mapping[str, str] = os.environ) -> str:
    """The profile that is used."""
    return environ.get(PROFILE_VARIABLE, "default")


_FORM: Final = "a connection string has the form blindrelay://TOKEN@relay.example:443?bridge=br1…"


def read_profile(path: Path, name: str) -> dict[str, str]:
    """The settings of a profile as they stand there. Raises ConfigurationError."""
    try:
        profiles = tomllib.loads(path.read_text()).get("profiles", {})
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"{path}: {error}") from None
    profile = profiles.get(name) if isinstance(profiles, dict) else None
    if not isinstance(profile, dict):
        raise ConfigurationError(f"{path} has no profile {name!r}")
    for key, value in profile.items():
        if key not in _PROFILE_KEYS or not isinstance(value, str):
            known = ", ".join(_PROFILE_KEYS)
            raise ConfigurationError(
                f"{path}: profile {name!r}: {key} is not one of {known}, with a value in quotes"
            )
    return dict(profile)


def _host_and_port(parts: SplitResult) -> tuple[str, int]:
    """Raises ValueError if there is no host, or if the port is no number from 1 to 65535."""
    if not parts.hostname or parts.port == 0:
        raise ValueError
    return parts.hostname, parts.port or _DEFAULT_PORT


def _beside(file: Path, path: str) -> str:
    return str(file.parent / Path(path).expanduser())


def _identity(text: str | None) -> bytes:
    if not text:
        raise ConfigurationError(
            "no bridge is pinned: add bridge=br1… (`blindrelay-bridge identity` prints it to its operator)"
        )
    try:
        return parse_identity(text)
    except IdentityError as error:
        raise ConfigurationError(f"bridge: {error}") from None


def _token(text: str | None) -> str | None:
    if text is None:
        return None
    token = _read("token", text[1:]).strip() if text.startswith("@") else text
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigurationError("the access token is empty, or has characters that no token has")
    return token


def _history(value: str) -> Path | bool:
    if not value:
        raise ConfigurationError("history is a file, or off")
    return _SWITCH.get(value, Path(value))


def _read(option: str, path: str) -> str:
    try:
        return Path(path).expanduser().read_text()
    except OSError as error:
        raise ConfigurationError(f"{option}: cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{option}: cannot read {path}: not a text file") from None
    except (RuntimeError, ValueError):  # ~ of nobody's home; a NUL
        raise ConfigurationError(f"{option}: {path!r} is no path of this machine") from None


def _choice(option: str, value: str, choices: Mapping[str, T]) -> T:
    if value not in choices:
        raise ConfigurationError(f"{option} is one of {', '.join(choices)}, not {value!r}")
    return choices[value]


def _seconds(option: str, value: str | None) -> float | None:
    if value is None:
        return None
    number, unit = value[:-1], value[-1:]
    if unit not in _UNITS or not number.isascii() or not number.isdigit() or not 0 < int(number) < 100_000:
        raise ConfigurationError(f"{option} is a time, such as 90s, 45m or 1h, not {value!r}")
    return float(int(number) * _UNITS[unit])


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
