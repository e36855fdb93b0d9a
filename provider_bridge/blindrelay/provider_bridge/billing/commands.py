"""`blindrelay-bridge prices`: check the prices of a configuration, or propose some."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path

from blindrelay.provider_bridge.billing.prices import PriceList, read_prices
from blindrelay.provider_bridge.billing.proposal import UNIT_DOLLARS, propose
from blindrelay.provider_bridge.config import BridgeConfig, DelegatedKey, read_bridge_config
from blindrelay.provider_bridge.keys.delegation_file import date, read_delegation
from blindrelay.provider_bridge.keys.key_files import load_identity
from blindrelay.serving import ConfigError
from blindrelay.serving.command import Commands


def add_prices(commands: Commands) -> None:
    """Adds the command."""
    prices = commands.add_parser("prices", help="check the prices that a bridge charges, or propose some")
    actions = prices.add_subparsers(dest="action", required=True, metavar="ACTION")
    check = actions.add_parser(
        "check", help="read the prices of a configuration, and say what they leave out"
    )
    check.add_argument(
        "--config", required=True, type=Path, metavar="FILE", help="the bridge's configuration"
    )
    check.set_defaults(run=_check)
    proposal = actions.add_parser(
        "propose", help="print a prices.toml with the prices that providers publish"
    )
    proposal.add_argument(
        "providers", nargs="+", metavar="PRESET", help="a provider's preset, such as openai"
    )
    proposal.add_argument("--factor", default="1", metavar="N", help="multiply the published prices by N")
    proposal.add_argument(
        "--unit", default=str(UNIT_DOLLARS), metavar="DOLLARS", help="what a unit is worth (default: 0.00001)"
    )
    proposal.set_defaults(run=_propose)


def check_prices(config: BridgeConfig) -> PriceList | None:
    """The prices of a configuration; None if it keeps no bills. Raises ConfigError."""
    if config.billing is None:
        return None
    names = [provider.name for provider in config.providers]
    return read_prices(config.billing.prices, _identity(config), names)


def describe(config: BridgeConfig, prices: PriceList, now: float) -> Iterator[str]:
    """What the prices say, and what they leave out: lines for a person."""
    table = prices.table
    yield f"a unit is {table.unit}; rows: {len(table.rows)}; SHA-256 {prices.hash.hex()}"
    if prices.is_valid(now):
        yield f"valid until {date(table.valid_to)}"
    else:
        yield "not valid today: every request that would cost something is refused"
    priced = {row.provider for row in table.rows}
    for provider in config.providers:
        if provider.injected and provider.name not in priced:
            yield f"{provider.name} has no row: its models are refused"


def _check(arguments: argparse.Namespace) -> None:
    config = read_bridge_config(arguments.config)
    prices = check_prices(config)
    if prices is None:
        raise ConfigError(f"{arguments.config}: there is no [billing] section: this bridge keeps no bills")
    for line in describe(config, prices, datetime.now(UTC).timestamp()):
        sys.stdout.write(f"{line}\n")


def _propose(arguments: argparse.Namespace) -> None:
    factor, unit = _number("--factor", arguments.factor), _number("--unit", arguments.unit)
    sys.stdout.write(propose(arguments.providers, datetime.now(UTC).date(), factor, unit))


def _number(option: str, text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal(0)
    if not number.is_finite() or number <= 0:
        raise ConfigError(f'{option} is "{text}", and must be a number above 0')
    return number


def _identity(config: BridgeConfig) -> bytes:
    """The identity that the table is of; zeros before the first start has made it."""
    keys = config.identity_key
    if isinstance(keys, DelegatedKey):
        return read_delegation(keys.delegation).identity
    return load_identity(keys).public_key if keys.exists() else bytes(32)
