"""A relay as several processes on one port: the kernel deals the connections out among them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from blindrelay.relay_node.audit_log import AuditLog, Event
from blindrelay.relay_node.config import RelayConfig
from blindrelay.relay_node.confinement import metrics_addresses, relay_needs
from blindrelay.relay_node.relay import Relay
from blindrelay.relay_node.supervisor import Post, Supervisor
from blindrelay.serving import Address, ConfigError, enter_sandbox, forbid_processes, held_port

MAX_WORKERS: Final = 64
"""Processes of one relay; one for each core is the most that makes sense."""


def serve_with_workers(
    config: RelayConfig, file: Path, count: int, on_ready: Callable[[Address], None]
) -> None:
    """Serves with that many processes until SIGTERM or SIGINT; then each drains.

    Each is a relay of its own, with its own channels to the bridges, and takes its share of `max_exchanges`.
    With `sandbox`, the supervisor enters it before it starts any, and each then gives up starting processes.
    Returns in every one of them. Raises ConfigError and StartError, and SystemExit where a worker has said
    what is wrong.
    """
    if config.max_exchanges < count:
        raise ConfigError(
            f"max_exchanges = {config.max_exchanges} cannot be shared by {count} workers: "
            f"make it {count} at least"
        )
    with held_port(config.listen) as address:
        bound = replace(config, listen=address)
        if config.sandbox:
            enter_sandbox(relay_needs(bound, file, count))
        post = Supervisor(
            count,
            on_ready=lambda: on_ready(address),
            on_lost=lambda: AuditLog().event(Event.WORKER_LOST),
        ).run()
    if post is not None:
        if config.sandbox:
            forbid_processes()
        asyncio.run(_work(bound, count, post))


async def _work(config: RelayConfig, count: int, post: Post) -> None:
    share = replace(
        config,
        # The shares add up to the whole.
        max_exchanges=(config.max_exchanges + post.number) // count,
        metrics=next(iter(metrics_addresses(config, count)[post.number :]), None),
    )
    await Relay(share).serve(lambda _: post.ready(), orders=post.orders, share_port=True)
