"""What a relay needs in the sandbox: its files, its ports, and DNS if bridges have names."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from pathlib import Path

from blindrelay.relay_node.config import RelayConfig
from blindrelay.serving import Address, Needs


def relay_needs(config: RelayConfig, file: Path, workers: int = 1) -> Needs:
    """The needs of a relay, or of its workers' supervisor. `file` is its configuration file."""
    next_hops = [peer.next_hop for peer in config.peers]
    token_files = [config.tokens, *(peer.token_file for peer in config.peers)]
    return Needs(
        files=(file, *(path for path in token_files if path is not None), *_tls_files(config)),
        bind=(config.listen.port, *(address.port for address in metrics_addresses(config, workers))),
        connect=tuple(address.port for address in next_hops),
        look_up=any(_is_name(address) for address in next_hops),
        fork=workers > 1,
    )


def metrics_addresses(config: RelayConfig, workers: int) -> tuple[Address, ...]:
    """Where each worker serves its metrics: the first on the configured port, the others on the next ones."""
    if config.metrics is None:
        return ()
    return tuple(Address(config.metrics.host, config.metrics.port + number) for number in range(workers))


def _tls_files(config: RelayConfig) -> Iterator[Path]:
    for tls in (config.tls, *(peer.tls for peer in config.peers)):
        if tls is not None:
            yield from tls.files


def _is_name(address: Address) -> bool:
    try:
        ipaddress.ip_address(address.host)
    except ValueError:
        return True
    return False
