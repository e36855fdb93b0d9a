"""A relay as several processes on one port: the kernel deals the connections out among them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from blindrelay.relay_node.config import RelayConfig
from blindrelay.relay_node.records import Event, Records
from blindrelay.relay_node.relay import Relay
from blindrelay.relay_node.supervisor import Post, Supervisor
from blindrelay.serving import Address, ConfigError, held_port

MAX_WORKERS: Final = 64
"""Processes of one relay; one for each core is the most that makes sense."""


def serve_with_workers(config: RelayConfig, count: int, on_ready: Callable[[Address], None]) -> None:
    """Serves with that many processes until SIGTERM or SIGINT; then each drains.

    Each is a relay of its own, with its own channels to the bridges, and takes its share of `max_exchanges`.
    Returns in every one of them. Raises ConfigError and StartError, and SystemExit where a worker has said
    what is wrong.
    """
    if config.max_exchanges < count:
        raise ConfigError(
            f"max_exchanges = {config.max_exchanges} cannot be shared by {count} workers: "
            f"make it {count} at least"
        )
    with held_port(config.listen) as address:
        post = Supervisor(
            count,
            on_ready=lambda: on_ready(address),
            on_lost=lambda: Records().event(Event.WORKER_LOST),
        ).run()
    if post is not None:
        asyncio.run(_work(replace(config, listen=address), count, post))


async def _work(config: RelayConfig, count: int, post: Post) -> None:
    # The shares add up to the whole.
    share = replace(config, max_exchanges=(config.max_exchanges + post.number) // count)
    await Relay(share).serve(lambda _: post.ready(), stops=post.orders_to, share_port=True)
