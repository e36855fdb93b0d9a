"""`blindrelay-bridge doctor`: whether a bridge with this configuration could serve, and what to do if not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

from blindrelay.provider_bridge.billing.commands import check_prices, describe
from blindrelay.provider_bridge.config import BridgeConfig, DelegatedKey, read_bridge_config
from blindrelay.provider_bridge.keys.delegation_file import DAY, check_delegation, date, read_delegation
from blindrelay.provider_bridge.keys.key_files import load_identity, load_signing_key
from blindrelay.provider_bridge.providers import Provider
from blindrelay.provider_bridge.upstream.failures import Failure, UpstreamError
from blindrelay.provider_bridge.upstream.route import connect, route_to
from blindrelay.serving import ConfigError
from blindrelay.serving.doctor import CheckFailedError, Finding, finding, listener_findings
from blindrelay.trust import format_identity

_ON_THE_WAY: Final = "check the port, and the firewalls and proxies on the way"
_REMEDIES: Final = {
    Failure.NAME_NOT_FOUND: "check the name and this machine's DNS",
    Failure.REFUSED: _ON_THE_WAY,
    Failure.UNREACHABLE: _ON_THE_WAY,
    Failure.TIMED_OUT: _ON_THE_WAY,
    Failure.TLS_CERTIFICATE: "check the name, this machine's clock, and the entry's ca",
    Failure.TLS_HANDSHAKE: "check that it speaks TLS on that port",
    Failure.PROXY_UNREACHABLE: "check the entry's proxy: nothing accepts connections there",
    Failure.PROXY_REFUSED: "check the entry's proxy and proxy_credential, and what the proxy allows",
}


def bridge_findings(file: Path) -> Iterator[Finding]:
    """Every check. The configuration and its credentials come first; without them there are no others."""
    try:
        config = read_bridge_config(file)
    except ConfigError as error:
        yield Finding("configuration", False, str(error))
        return
    yield Finding("configuration", True, f"{file} is valid (providers: {len(config.providers)})")
    yield finding("identity", partial(check_identity, config))
    if config.billing is not None:
        yield finding("prices", partial(check_billing, config))
    yield from listener_findings(config.tokens, config.tls, config.listen)
    for provider in config.providers:
        yield finding("provider", partial(check_provider, provider))


def check_billing(config: BridgeConfig) -> str:
    """Whether the prices can be read and are valid today. Raises ConfigError, CheckFailedError."""
    prices, now = check_prices(config), time.time()
    if prices is None:
        return "no bills"
    told = "; ".join(describe(config, prices, now))
    if prices.seconds_left(now) < 7 * DAY:
        raise CheckFailedError(told, "give the prices a valid_from in the past, and a later valid_to")
    return told


def check_identity(config: BridgeConfig) -> str:
    """The identity that clients pin, and how long a delegation lasts. Makes no key. Raises ConfigError."""
    keys = config.identity_key
    if isinstance(keys, DelegatedKey):
        return _check_delegated(keys)
    if not keys.exists():
        return f"{keys} does not exist yet: `serve` makes it, with a new identity, at the first start"
    return f"{format_identity(load_identity(keys).public_key)}, held in {keys}"


def _check_delegated(keys: DelegatedKey) -> str:
    found, now = read_delegation(keys.delegation), int(time.time())
    check_delegation(keys.delegation, found, load_signing_key(keys.signing_key), now)
    ends = f"{format_identity(found.identity)}, delegated until {date(found.not_after)}"
    if found.not_after - now < 7 * DAY:
        raise CheckFailedError(ends, "make a new delegation where the identity key is: `delegate`")
    return ends


def check_provider(provider: Provider) -> str:
    """Connects as calls do, through the entry's proxy and with its ca. It sends no request and no credential.

    Raises CheckFailedError, ConfigError.
    """
    route = route_to(provider, lambda _: None)
    where, began = f"{provider.name} ({provider.target})", time.monotonic()

    async def try_route() -> None:
        (await connect(route)).close()

    try:
        asyncio.run(try_route())
    except UpstreamError as error:
        raise CheckFailedError(f"{where}: {error}", _REMEDIES.get(error.failure, "try again")) from None
    way = "" if route.proxy is None else f" through {route.proxy.host}:{route.proxy.port}"
    return f"{where} is reached in {(time.monotonic() - began) * 1_000:.0f} ms{way}"
