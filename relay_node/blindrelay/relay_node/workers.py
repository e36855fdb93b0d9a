"""A relay as several processes on one port. The kernel distributes the connections among them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from blindrelay.relay_node.audit_log import AuditLog, Event
from blindrelay.relay_node.config import RelayConfig
from blindrelay.relay_node.relay import Relay
from blindrelay.relay_node.sandbox_needs import metrics_addresses, relay_needs
from blindrelay.relay_node.supervisor import Supervisor, Worker
from blindrelay.serving import Address, ConfigError, enter_sandbox, forbid_processes, reserved_port


def serve_with_workers(
    config: RelayConfig, file: Path, count: int, on_ready: Callable[[Address], None]
) -> None:
    """Serves with `count` processes until SIGTERM or SIGINT. Then each drains.

    Each is a separate relay with its own channels to the bridges, and gets an equal part of `max_exchanges`.
    With `sandbox`, the supervisor enters it before it starts a worker, and each worker then gives up starting
    processes. Returns in every process. Raises ConfigError, StartError, and SystemExit if a worker has
    already printed its error.
    """
    if config.max_exchanges < count:
        raise ConfigError(
            f"max_exchanges = {config.max_exchanges} is too small for {count} workers: "
            f"set it to at least {count}"
        )
    with reserved_port(config.listen) as address:
        bound = replace(config, listen=address)
        if config.sandbox:
            enter_sandbox(relay_needs(bound, file, count))
        worker = Supervisor(
            count,
            on_ready=lambda: on_ready(address),
            on_lost=lambda: AuditLog().event(Event.WORKER_LOST),
        ).run()
    if worker is not None:
        if config.sandbox:
            forbid_processes()
        asyncio.run(_work(bound, count, worker))


async def _work(config: RelayConfig, count: int, worker: Worker) -> None:
    share = replace(
        config,
        # The shares of all workers add up to max_exchanges.
        max_exchanges=(config.max_exchanges + worker.number) // count,
        metrics=next(iter(metrics_addresses(config, count)[worker.number :]), None),
    )
    await Relay(share).serve(lambda _: worker.ready(), orders=worker.orders_to, share_port=True)
