"""`blindrelay init`: asks for relay, token and bridge, tries them and writes the profile."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click

from blindrelay.client.commands.doctor.checks import Examination
from blindrelay.client.commands.doctor.command import examined, failed_of, findings_json
from blindrelay.client.commands.exit_codes import ExitCode
from blindrelay.client.commands.keys.sources import read_text
from blindrelay.client.commands.options import json_option
from blindrelay.client.commands.profile_writer import write_private, write_profile
from blindrelay.client.connection_config import ConnectionConfig, profile_file, read_profile
from blindrelay.client.connection_string import (
    connection_settings,
    looks_like_connection_string,
    relay_address,
)
from blindrelay.client.errors import ConfigurationError
from blindrelay.trust import IdentityError, format_identity, identity_groups, parse_typed_identity

_STDIN: Final = "-"


@click.command()
@click.option("--relay", metavar="HOST:PORT", help="The relay's address (port 443), or a connection string.")
@click.option("--token-file", metavar="FILE", help="A file with the access token; - is stdin.")
@click.option("--bridge", metavar="br1…", help="The bridge's identity; spaces and case do not matter.")
@click.option("--no-token", is_flag=True, help="The relay needs no token.")
@click.option("--tls/--no-tls", default=True, help="--no-tls: for a relay on this machine.")
@click.option("--ca", type=click.Path(path_type=Path), help="The relay's root certificates, if private.")
@click.option("--http-proxy", "proxy", metavar="URL", help="A proxy to reach the relay: http://HOST:PORT.")
@click.option(
    "--profile", default="default", show_default=True, help="The profile to write; see BLINDRELAY_PROFILE."
)
@click.option("--check/--no-check", default=True, help="--no-check: write without checking.")
@click.option("--yes", "-y", is_flag=True, help="Confirm that the groups match; replace a profile.")
@json_option
def init(profile: str, check: bool, yes: bool, as_json: bool, **answers: Any) -> int:
    """Set up a relay: answer three questions; the answers are checked before they are saved.

    It asks for the relay's address, your access token and the bridge's identity. Address and token come from
    the relay's operator. The identity comes from the bridge's operator, in a way that the relay does not
    control: compare its groups on the telephone. A connection string instead of the address answers all
    three. The token is never an argument, because other users of this machine could read it.

    \b
    Examples:
      blindrelay init
      blindrelay init --relay relay.example --token-file token --bridge br1… --yes
      pass relay-token | blindrelay init --relay relay.example --token-file - --bridge br1… --yes

    Exit codes: 0 written, 1 a check failed and nothing was written, 2 wrong input, 130 interrupted.
    """
    path = profile_file()
    _may_replace(path, profile, yes)
    settings = _settings(**answers, yes=yes)
    connection = ConnectionConfig.from_settings(settings)
    findings = examined(Examination(lambda: connection).findings(), quiet=as_json) if check else []
    writes = failed_of(findings) is None or _despite_failure(yes or as_json)
    if writes:
        _write(path, profile, settings)
    if as_json:
        result = {"written": writes, "file": str(path), "profile": profile, **findings_json(findings)}
        click.echo(json.dumps(result, indent=2))
    else:
        click.echo(_result(path, profile, writes), err=not writes)
    return ExitCode.DONE if writes else ExitCode.NO


def _settings(
    relay: str | None,
    token_file: str | None,
    bridge: str | None,
    no_token: bool,
    tls: bool,
    ca: Path | None,
    proxy: str | None,
    yes: bool,
) -> dict[str, str]:
    """The profile's settings, given or typed. Raises ConfigurationError, UsageError."""
    settings = _address(relay)
    if not tls:
        settings["tls"] = "off"
    if ca is not None:
        settings["ca"] = str(ca.absolute())
    if proxy is not None:
        settings["proxy"] = proxy
    if no_token:
        settings.pop("token", None)
    elif token_file is not None or "token" not in settings:
        settings["token"] = _token(token_file)
    settings["bridge"] = format_identity(_identity(bridge or settings.get("bridge"), yes))
    return settings


def _write(path: Path, profile: str, settings: dict[str, str]) -> None:
    """The profile, and the token in a file of its own. Raises ConfigurationError."""
    token = settings.pop("token", None)
    if token is not None:
        settings["token_file"] = token.removeprefix("@") if token.startswith("@") else f"{profile}.token"
    if token is not None and not token.startswith("@"):
        write_private(path.parent / settings["token_file"], token + "\n")
    write_profile(path, profile, settings)


def _result(path: Path, profile: str, writes: bool) -> str:
    if not writes:
        return "blindrelay: a check failed, and nothing was written: --no-check writes without checking"
    return f"Written: profile {profile} in {path}. Try: blindrelay chat"


def _may_replace(path: Path, profile: str, yes: bool) -> None:
    """Raises UsageError if the profile exists and must stay."""
    try:
        read_profile(path, profile)
    except ConfigurationError:
        return  # there is no such profile; writing reports any other fault of the file
    if not yes:
        _confirm(f"There is a profile {profile} in {path}. Replace it?")


def _address(given: str | None) -> dict[str, str]:
    """The given or typed address of the relay, or all settings of a connection string."""
    while True:
        typed = given or _ask("The relay's address (HOST:PORT)")
        try:
            if looks_like_connection_string(typed):
                return _absolute_paths(connection_settings(typed))
            relay_address(typed)
            return {"relay": typed.strip()}
        except ConfigurationError as error:
            problem = str(error)
        if given is not None:
            raise ConfigurationError(f"--relay: {problem}")
        click.echo(f"{problem}; please try again", err=True)


def _absolute_paths(settings: dict[str, str]) -> dict[str, str]:
    """Makes paths absolute: in a profile, relative paths begin at the file's folder."""
    for name in ("ca", "history", "keys"):
        if name in settings and settings[name].lower() not in ("on", "off"):
            settings[name] = str(Path(settings[name]).expanduser().absolute())
    if settings.get("token", "").startswith("@"):
        settings["token"] = "@" + str(Path(settings["token"][1:]).expanduser().absolute())
    return settings


def _token(file: str | None) -> str:
    if file is None:
        return _ask("Your access token", hidden=True)
    token = sys.stdin.read() if file == _STDIN else read_text(Path(file).expanduser())
    return token.removeprefix("\ufeff").strip()


def _identity(text: str | None, yes: bool) -> bytes:
    """The bridge's public key, after the user has compared it."""
    while True:
        typed = text or _ask("The bridge's identity (br1…)")
        try:
            identity = parse_typed_identity(typed)
        except IdentityError as error:
            if text is not None:
                raise ConfigurationError(f"--bridge: {error}") from None
            click.echo(f"{error}; please try again", err=True)
            continue
        if not yes:
            click.echo(f"\n{identity_groups(identity)}\n", err=True)
            _confirm("Are these the groups that the bridge's operator reads to you?")
        return identity


def _despite_failure(yes: bool) -> bool:
    """Whether to write although a check failed."""
    try:
        return not yes and click.confirm("Write it anyway?", err=True)
    except click.Abort:
        if sys.stdin.isatty():
            raise
        return False


def _ask(question: str, *, hidden: bool = False) -> str:
    with _asking("--relay, --token-file and --bridge"):
        return str(click.prompt(question, hide_input=hidden and _hides_input(), err=True)).strip()


def _hides_input() -> bool:
    """Whether getpass finds a terminal. Without one it prints warnings of its own."""
    if os.name == "nt" or sys.stdin.isatty():
        return True
    try:
        with Path("/dev/tty").open():
            return True
    except OSError:
        return False


def _confirm(question: str) -> None:
    with _asking("--yes"):
        if not click.confirm(question, err=True):
            raise click.UsageError("nothing was written")


@contextmanager
def _asking(options: str) -> Iterator[None]:
    """Raises UsageError if stdin cannot answer."""
    try:
        yield
    except click.Abort:
        if sys.stdin.isatty():
            raise
        click.echo(err=True)  # ends the question's line
        raise click.UsageError(f"cannot ask without a terminal: give {options}") from None
