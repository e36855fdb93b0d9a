"""`blindrelay config`: shows the settings in force and where each comes from."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from blindrelay.client.bill_journal import journal_file
from blindrelay.client.cache_salt import FIELDS
from blindrelay.client.commands.options import connection_of, json_option, print_either, relay_option
from blindrelay.client.connection_config import (
    CONNECTION_VARIABLE,
    PROXY_VARIABLE,
    ConnectionConfig,
    profile_file,
    profile_name,
    read_profile,
)
from blindrelay.client.connection_options import SHAPES
from blindrelay.client.connection_string import connection_settings
from blindrelay.client.history_store import default_history_file
from blindrelay.trust import format_identity
from blindrelay.v1.inner_pb2 import Credential
from blindrelay.v1.limits import deadline_seconds

_DEFAULT: Final = "default"


@dataclass(frozen=True)
class Setting:
    """One setting: its value as text, and where it comes from."""

    value: str
    origin: str


@click.group(invoke_without_command=True)
@relay_option
@json_option
@click.pass_context
def config(context: click.Context, relay: str | None, as_json: bool) -> None:
    """Show the settings in force and where each comes from. Secrets are not shown.

    \b
    Examples:
      blindrelay config
      blindrelay config --json | jq -r .relay.value
      $EDITOR "$(blindrelay config path)"

    Exit codes: 0 done, 2 wrong input or configuration.
    """
    if context.invoked_subcommand is None:
        settings = settings_in_force(relay)
        print_either(as_json, lambda: _as_json(settings), lambda: _as_lines(settings))


@config.command(short_help="Print the path of the profile file.")
@json_option
def path(as_json: bool) -> None:
    """Print the path of the file with the profiles, whether or not it exists.

    BLINDRELAY_CONFIG names another file, BLINDRELAY_PROFILE another profile in it.

    \b
    Examples:
      blindrelay config path
      $EDITOR "$(blindrelay config path)"

    Exit codes: 0 done, 2 no home directory.
    """
    file, profile = str(profile_file()), profile_name()
    print_either(as_json, lambda: {"file": file, "profile": profile}, lambda: [file])


def settings_in_force(relay: str | None) -> dict[str, Setting]:
    """The settings by name. `relay` is a connection string that overrides all. Raises ConfigurationError."""
    connection = connection_of(relay)
    source, given = _given(relay)
    return {
        name: Setting(value, source if name in given else _DEFAULT)
        for name, value in _values(connection, given).items()
    } | _proxy(connection, given)


def _given(relay: str | None) -> tuple[str, dict[str, str]]:
    """Where settings come from, and the settings given there, as written."""
    text = relay or os.environ.get(CONNECTION_VARIABLE)
    if not text:
        file, name = profile_file(), profile_name()
        given = read_profile(file, name)
        if "token_file" in given:
            given["token"] = "@" + str(file.parent / Path(given["token_file"]).expanduser())
        return f"{file}, profile {name}", given
    given = connection_settings(text)
    return "--relay" if relay else CONNECTION_VARIABLE, given


def _values(connection: ConnectionConfig, given: dict[str, str]) -> dict[str, str]:
    brought = connection.credential == Credential.CREDENTIAL_BROUGHT
    return {
        "relay": connection.target,
        "bridge": format_identity(connection.identity),
        "token": _token(connection, given),
        "tls": "on" if connection.tls else "off",
        "ca": "gRPC's own roots" if connection.ca is None else str(connection.ca),
        "proxy": "off" if connection.proxy is None else connection.proxy.address,
        "credentials": "brought" if brought else "injected",
        "keys": ", ".join(provider for provider, _ in connection.keys) or "none",
        "deadline": f"{deadline_seconds(connection.deadline_class)} s",
        "first_byte": _limit(connection.first_byte),
        "idle": _limit(connection.idle),
        "history": _history(connection),
        "provider": connection.provider,
        "bills": _bills(connection),
        "max_units": str(connection.max_units),
        "headers": _names(connection.headers) or "none",
        "cache_salt": _cache_salt(connection),
        "shape": next(name for name, profile in SHAPES.items() if profile == connection.shape),
    }


def _proxy(connection: ConnectionConfig, given: dict[str, str]) -> dict[str, Setting]:
    if connection.proxy is None or "proxy" in given:
        return {}
    return {"proxy": Setting(connection.proxy.address, PROXY_VARIABLE)}


def _token(connection: ConnectionConfig, given: dict[str, str]) -> str:
    if connection.token is None:
        return "none"
    text = given.get("token", "")
    return f"set, in {text[1:]}" if text.startswith("@") else "set"


def _limit(seconds: float | None) -> str:
    return "as each request says" if seconds is None else f"{seconds:.0f} s"


def _history(connection: ConnectionConfig) -> str:
    if connection.history is False:
        return "off"
    if isinstance(connection.history, Path):
        return str(connection.history)
    return str(default_history_file(connection.identity) or "off: no home directory")


def _bills(connection: ConnectionConfig) -> str:
    if not connection.bills:
        return "off"
    return str(journal_file() or "off: no home directory")


def _names(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def _cache_salt(connection: ConnectionConfig) -> str:
    if connection.cache_salt is None:
        return "off"
    return _names({*FIELDS, *connection.cache_salt})


def _as_json(settings: dict[str, Setting]) -> dict[str, Any]:
    return {name: {"value": each.value, "from": each.origin} for name, each in settings.items()}


def _as_lines(settings: dict[str, Setting]) -> Iterator[str]:
    yield f"from         {settings['relay'].origin}"
    for name, each in settings.items():
        yield f"{name:<12} {each.value}" + (f" ({_DEFAULT})" if each.origin == _DEFAULT else "")
