"""`blindrelay models`: lists the provider's models, asked sealed."""

from __future__ import annotations

import click

from blindrelay.client.commands.options import (
    connection_of,
    dialect_for,
    json_option,
    origin_option,
    print_either,
    provider_option,
    relay_option,
)
from blindrelay.client.commands.sealed_api import SealedApi
from blindrelay.client.commands.terminal import one_line, waiting
from blindrelay.client.transport import SealedTransport


@click.command()
@provider_option
@origin_option
@relay_option
@json_option
def models(provider: str | None, origin: str | None, relay: str | None, as_json: bool) -> None:
    """List the provider's models, one per line. The relay does not learn that you asked.

    \b
    Examples:
      blindrelay models
      blindrelay models --provider anthropic --json
      blindrelay models --provider models        all that the bridge serves at one address

    Exit codes: 0 done, 2 wrong input, 3 relay, 4 bridge, 5 provider, 130 interrupted.
    """
    connection = connection_of(relay)
    dialect = dialect_for(provider, connection)
    with SealedApi(SealedTransport(connection), dialect, origin) as api, waiting("asking"):
        names = api.models()
    print_either(
        as_json,
        lambda: {"provider": dialect.name, "models": names},
        lambda: [one_line(name) for name in names],
    )
