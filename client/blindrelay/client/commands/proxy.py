"""`blindrelay proxy`: a local endpoint for programs that take a base URL."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import re
import signal
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import click

from blindrelay.client.commands.exit_codes import ExitCode
from blindrelay.client.commands.options import connection_of, json_option, relay_option
from blindrelay.client.connection_config import DEFAULT_PROVIDER, ConnectionConfig, profile_file
from blindrelay.client.errors import ConfigurationError
from blindrelay.client.history_store import state_folder
from blindrelay.trust import format_identity
from blindrelay.v1.extras import needs_extra
from blindrelay.v1.inner_pb2 import Credential

DEFAULT_PORT: Final = 8484

_HOST_NAME: Final = re.compile(r"[0-9A-Za-z]([0-9A-Za-z._-]*[0-9A-Za-z])?")


@click.command()
@relay_option
@json_option
@click.option(
    "--port", type=click.IntRange(0, 65_535), default=DEFAULT_PORT, show_default=True, help="0: any."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--allow-others", is_flag=True, help="Allow a --host that other machines can reach.")
@click.option(
    "--allow-host",
    "allowed_hosts",
    multiple=True,
    metavar="NAME",
    help="Accept this name in Host, such as host.docker.internal. Can be repeated.",
)
@click.option(
    "--provider",
    "-p",
    help="Takes /v1/… paths that several APIs have; models: all models of the bridge. "
    f"Default: the connection's, or {DEFAULT_PROVIDER}.",
)
@click.option(
    "--show-content",
    is_flag=True,
    help="Keep contents in memory for the page /content, which asks for the token.",
)
@click.option("--show-token", is_flag=True, help="Print the endpoint's token and exit.")
def proxy(relay: str | None, as_json: bool, show_token: bool, **options: Any) -> int:
    """Serve a local endpoint, for any program that takes a base URL and a key.

    \b
    Examples:
      blindrelay proxy
      OPENAI_BASE_URL=http://127.0.0.1:8484/v1 OPENAI_API_KEY=$(blindrelay proxy --show-token) llm "Hello"
      ANTHROPIC_BASE_URL=http://127.0.0.1:8484 ANTHROPIC_AUTH_TOKEN=$(blindrelay proxy --show-token) claude

    Its address is the base URL, and its token is the key. The token is made on first use and kept in a file
    that only you can read. Paths that begin with /NAME/ go to the provider of that name. Other paths go to
    the provider whose API has them, or to --provider if several do. The page at http://127.0.0.1:8484/ shows
    what the relay could see of the last exchanges. Contents are not kept without --show-content. Ctrl-C ends
    the endpoint.

    Exit codes: 0 done or ended by SIGTERM, 2 wrong input or configuration, 130 interrupted.
    """
    endpoint = _endpoint()
    if show_token:
        token = endpoint.local_token(_state_folder())
        click.echo(json.dumps({"token": token.text, "file": str(token.path)}) if as_json else token.text)
        return ExitCode.DONE
    return _serve(endpoint, connection_of(relay), as_json, **options)


def _serve(
    endpoint: Any,
    connection: ConnectionConfig,
    as_json: bool,
    *,
    port: int,
    host: str,
    allow_others: bool,
    allowed_hosts: tuple[str, ...],
    provider: str | None,
    show_content: bool,
) -> int:
    """Serves until a signal comes; returns the exit code. Raises ConfigurationError."""
    providers = endpoint.read_providers(profile_file())
    provider = provider or connection.provider
    if provider not in providers:
        raise ConfigurationError(f"--provider is one of {', '.join(sorted(providers))}, not {provider!r}")
    _check_names(allowed_hosts)
    _check_host(host, allow_others)
    listener = endpoint.listen(host, port)
    try:
        token = endpoint.local_token(_state_folder())  # last, because a new one is shown only once
    except ConfigurationError:
        listener.close()
        raise
    serving = endpoint.serve(
        listener,
        connection,
        token.text,
        providers,
        provider,
        lambda: _announce(listener, connection, token, as_json),
        show_content=show_content,
        allowed_hosts=allowed_hosts,
    )
    return ExitCode.INTERRUPTED if asyncio.run(serving) is signal.SIGINT else ExitCode.DONE


def _endpoint() -> Any:
    with needs_extra("proxy"):
        from blindrelay.client import endpoint
    return endpoint


def _state_folder() -> Path:
    folder = state_folder()
    if folder is None:
        raise ConfigurationError("no home directory to keep the endpoint's token in: set BLINDRELAY_STATE")
    return folder


def _check_names(names: Iterable[str]) -> None:
    for name in names:
        if not _HOST_NAME.fullmatch(name):
            raise ConfigurationError(f"--allow-host takes a host name without a port, not {name!r}")


def _check_host(host: str, allow_others: bool) -> None:
    try:
        is_loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        return  # listen() reports it
    if is_loopback:
        return
    if not allow_others:
        raise ConfigurationError(
            f"on {host}, other machines can reach the endpoint, and they send in clear: "
            "add --allow-others to allow this"
        )
    click.echo(
        f"blindrelay: warning: on {host} the endpoint takes prompts and its token in clear. "
        "Anyone who can read the network can read the prompts and use the token",
        err=True,
    )


def _announce(listener: socket.socket, connection: ConnectionConfig, token: Any, as_json: bool) -> None:
    announcement = _announcement(listener, connection, token)
    click.echo(json.dumps(announcement) if as_json else _for_people(announcement))


def _announcement(listener: socket.socket, connection: ConnectionConfig, token: Any) -> dict[str, str]:
    host, port = listener.getsockname()[:2]
    listening = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    brought = connection.credential == Credential.CREDENTIAL_BROUGHT
    return {
        "listening": listening,
        "url": f"http://{listening}",
        "relay": connection.target,
        "bridge": format_identity(connection.identity),
        "credentials": "brought" if brought else "injected",
        "token_file": str(token.path),
        **({"token": token.text} if token.is_new else {}),
    }


def _for_people(announcement: dict[str, str]) -> str:
    file = announcement["token_file"]
    token = (
        f"{announcement['token']}  (new; shown once, kept in {file})"
        if "token" in announcement
        else f"in {file}"
    )
    text = [
        f"BlindRelay's endpoint: {announcement['url']}  (Ctrl-C ends it)",
        f"  relay   {announcement['relay']}",
        f"  bridge  {announcement['bridge']}",
        f"  token   {token}",
    ]
    if announcement["credentials"] == "brought":
        text.append("  Send your own key as usual, and the token in x-blindrelay-token or in the path.")
    return "\n".join(text)
