"""Options that several commands share, and how they print."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlsplit

import click

from blindrelay.client.commands.api_dialects import DIALECTS, Dialect
from blindrelay.client.connection_config import DEFAULT_PROVIDER, ConnectionConfig
from blindrelay.client.errors import ConfigurationError
from blindrelay.v1.http_proxy import HttpProxy

Command = Callable[..., Any]

_HTTP_PROXY: Final = "blindrelay.http_proxy"


def relay_option(command: Command) -> Command:
    """--relay CONNECTION, and --http-proxy for it."""
    relay = click.option(
        "--relay", metavar="CONNECTION", help="blindrelay://…, instead of the configured relay."
    )
    return relay(http_proxy_option(command))


def http_proxy_option(command: Command) -> Command:
    """--http-proxy URL, which connection_of() uses."""
    return click.option(
        "--http-proxy",
        metavar="URL",
        expose_value=False,
        callback=_keep_http_proxy,
        help="A proxy to reach the relay: http://HOST:PORT; default: BLINDRELAY_PROXY.",
    )(command)


def _keep_http_proxy(context: click.Context, option: click.Parameter, url: str | None) -> None:
    if url is None:
        return
    try:
        context.meta[_HTTP_PROXY] = HttpProxy.parse(url)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def json_option(command: Command) -> Command:
    """--json, as the parameter `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")(command)


def provider_option(command: Command) -> Command:
    """--provider openai|anthropic|models; None if it is not given."""
    return click.option(
        "--provider",
        "-p",
        type=click.Choice(sorted(DIALECTS)),
        help="The provider whose API is called, or models for all models of the bridge; default: the "
        f"connection's, or {DEFAULT_PROVIDER}.",
    )(command)


def dialect_for(provider: str | None, connection: ConnectionConfig) -> Dialect:
    """The API of --provider, or the connection's. Raises ConfigurationError if commands cannot speak it."""
    name = provider or connection.provider
    if name not in DIALECTS:
        known = ", ".join(sorted(DIALECTS))
        raise ConfigurationError(f"the connection has provider={name}: give --provider, one of {known}")
    return DIALECTS[name]


def origin_option(command: Command) -> Command:
    """--origin URL."""
    return click.option(
        "--origin",
        metavar="URL",
        callback=_origin,
        help="Another server with that API: https://models.example",
    )(command)


def _origin(context: click.Context, option: click.Parameter, url: str | None) -> str | None:
    if url is None or (url.startswith(("https://", "http://")) and _has_host(url)):
        return url
    raise click.BadParameter(f"{url!r} is not a URL such as https://models.example")


def _has_host(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def connection_of(relay: str | None) -> ConnectionConfig:
    """The connection of --relay, or the configured one, through --http-proxy. Raises ConfigurationError."""
    connection = ConnectionConfig.from_env() if relay is None else ConnectionConfig.from_string(relay)
    context = click.get_current_context(silent=True)
    proxy = None if context is None else context.meta.get(_HTTP_PROXY)
    return connection if proxy is None else replace(connection, proxy=proxy)


def print_either(as_json: bool, as_object: Callable[[], Any], as_lines: Callable[[], Iterable[str]]) -> None:
    """One JSON document, or lines for people."""
    if as_json:
        click.echo(json.dumps(as_object(), indent=2))
    else:
        for line in as_lines():
            click.echo(line)
