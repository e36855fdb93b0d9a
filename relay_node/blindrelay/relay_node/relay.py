"""The relay as a server: its listener, its replicas, its background tasks, its end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import grpc

from blindrelay.relay_node.audit_log import AuditLog, Event
from blindrelay.relay_node.channel import ChannelFactory, open_channel
from blindrelay.relay_node.config import RelayConfig
from blindrelay.relay_node.gate import Gate, gate_of
from blindrelay.relay_node.metrics import relay_metrics
from blindrelay.relay_node.replica import Replica
from blindrelay.relay_node.routing import Routing
from blindrelay.relay_node.service import RelayService
from blindrelay.serving import (
    CLIENT_IDLE_SECONDS,
    STREAMS_PER_CLIENT,
    Address,
    Admission,
    Orders,
    listen,
    orders_by_signal,
    serve_until_stopped,
    server_options,
)
from blindrelay.serving.health import Health
from blindrelay.serving.metrics import exposed_metrics


class Relay:
    """One relay process. `open_channel` makes the channels to bridges, and `audit_log` takes events.

    Create it in a running event loop. Raises ConfigError for unusable token and TLS files.
    """

    def __init__(
        self,
        config: RelayConfig,
        audit_log: AuditLog | None = None,
        open_channel: ChannelFactory = open_channel,
    ) -> None:
        self._config = config
        self._audit_log = audit_log or AuditLog()
        self._admission = Admission(config.max_exchanges)
        self._gate = self._make_gate()
        self._health = Health()
        self._changed = asyncio.Event()
        self._replicas = [
            Replica(replica, open_channel, self._audit_log, self._changed.set, config.max_request_bytes)
            for replica in config.replicas
        ]
        self._routing = Routing(self._replicas, self._audit_log, self._gate.room)
        self._service = RelayService(config, self._gate, self._admission, self._routing, self._audit_log)

    def _make_gate(self) -> Gate:
        return gate_of(self._config, self._admission, self._audit_log)

    async def serve(
        self,
        on_ready: Callable[[Address], None],
        orders: Orders = orders_by_signal,
        *,
        share_port: bool = False,
    ) -> None:
        """Serves until an order to stop, then drains. Raises StartError if the port is taken.

        With `share_port`, other processes listen on the port too, and one has reserved it (reserved_port).
        """
        async with self._server(share_port=share_port) as (server, address):

            def ready() -> None:
                self._audit_log.event(Event.STARTED)
                on_ready(address)

            await serve_until_stopped(
                server,
                self._admission,
                self._config.drain_seconds,
                on_ready=ready,
                on_drain=self._drain,
                rereading=lambda: self._audit_log.told(Event.REREAD),
                orders=orders,
            )
        self._audit_log.event(Event.STOPPED)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Address]:
        """Serves while the block runs, without signal handlers. For programs that host a relay."""
        async with self._server() as (server, address):
            await server.start()
            try:
                yield address
            finally:
                await server.stop(0)

    @contextlib.asynccontextmanager
    async def _server(self, *, share_port: bool = False) -> AsyncIterator[tuple[grpc.aio.Server, Address]]:
        await self._health.set(serving=False)
        options = server_options(STREAMS_PER_CLIENT, CLIENT_IDLE_SECONDS, share_port=share_port)
        server = grpc.aio.server(options=options)
        services = (self._service.handler(self._fault), *self._gate.services(self._fault))
        server.add_generic_rpc_handlers((*services, self._health.handler()))
        tasks = [asyncio.create_task(replica.run()) for replica in self._replicas]
        tasks += [
            asyncio.create_task(self._report_health()),
            asyncio.create_task(self._gate.run()),
        ]
        metrics = relay_metrics(self._replicas, self._admission, self._audit_log)
        metrics += self._gate.metrics(self._audit_log)
        try:
            async with exposed_metrics(self._config.metrics, metrics):
                address = self._listen(server, share_port=share_port)
                tasks.append(asyncio.create_task(self._audit_log.keep_reporting()))
                yield server, address
                await self._gate.finish()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _listen(self, server: grpc.aio.Server, *, share_port: bool) -> Address:
        self._warn_of_plaintext()
        return listen(
            server,
            self._config.listen,
            self._config.tls,
            plaintext=self._config.plaintext,
            on_problem=lambda _: self._audit_log.event(Event.CERTIFICATES_UNUSABLE),
            share_port=share_port,
        )

    def _warn_of_plaintext(self) -> None:
        if self._config.plaintext:
            self._audit_log.event(Event.PLAINTEXT)
        for replica in self._config.replicas:
            if replica.plaintext:
                self._audit_log.event(Event.PLAINTEXT, replica.address)

    async def _report_health(self) -> None:
        while True:
            self._changed.clear()
            await self._health.set(self._routing.up)
            await self._changed.wait()

    def _fault(self) -> None:
        self._audit_log.event(Event.FAULT)

    async def _drain(self) -> None:
        self._audit_log.event(Event.DRAINING)
        await self._health.drain()
