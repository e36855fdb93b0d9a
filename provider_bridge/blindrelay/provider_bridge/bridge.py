"""The bridge as a process: assembled, listening, and drained at the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any, Final

import grpc

from blindrelay.provider_bridge.aggregate.router import Router
from blindrelay.provider_bridge.audit_log import AuditLog, Event
from blindrelay.provider_bridge.billing.billing import Billing
from blindrelay.provider_bridge.billing.outbox import Outbox
from blindrelay.provider_bridge.billing.settlement import SettlementService
from blindrelay.provider_bridge.claims import CAPACITY, ClaimMemory
from blindrelay.provider_bridge.clock import Clock, ClockWatch
from blindrelay.provider_bridge.config import BridgeConfig
from blindrelay.provider_bridge.exchange import Runtime
from blindrelay.provider_bridge.exchange_opener import ExchangeOpener
from blindrelay.provider_bridge.keys.epoch_keys import EpochKeys
from blindrelay.provider_bridge.keys.signatory import HeldIdentity, Signatory
from blindrelay.provider_bridge.metrics import bridge_metrics
from blindrelay.provider_bridge.peers import Peers
from blindrelay.provider_bridge.quota import Quota
from blindrelay.provider_bridge.request_budget import RequestBudget
from blindrelay.provider_bridge.service import ExchangeService
from blindrelay.provider_bridge.stateless.checker import Checker
from blindrelay.provider_bridge.upstream.provider_call import ProviderTransport
from blindrelay.serving import (
    STREAMS_PER_RELAY,
    Address,
    Admission,
    Callers,
    TokenFile,
    listen,
    serve_until_stopped,
    server_options,
)
from blindrelay.serving.health import Health
from blindrelay.serving.metrics import Metric, exposed_metrics
from blindrelay.trust import IdentityKey

GIVE_UP_BEFORE: Final = 1.0
"""Seconds before the end of draining at which running exchanges get a sealed error, with time to read it."""

HEALTH_SECONDS: Final = 1.0
"""Seconds between two checks of the delegation for the health service."""

QUIET_SECONDS: Final = 0.5
"""Seconds without a new exchange before a drained process ends: busy clients have moved by then."""


class Bridge:
    """One bridge process, or one bridge within a test."""

    def __init__(
        self,
        config: BridgeConfig,
        identity: IdentityKey | Signatory,
        log: AuditLog | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Raises ConfigError if one of its files is missing or wrong."""
        self._config = config
        self.log = log or AuditLog()
        self.admission = Admission(config.max_exchanges, QUIET_SECONDS)
        self._outbox = None if config.billing is None else Outbox(config.billing.outbox)
        blind = None if self._outbox is None else self._outbox.blind
        self._callers = self._callers_with_tokens(blind)
        self._clock = clock or Clock()
        self._health = Health()
        by_certificate = config.tls is not None and config.tls.client_ca is not None
        peers = Peers(self._callers, config.relays, by_certificate=by_certificate, blind=blind)
        if isinstance(identity, IdentityKey):
            identity = HeldIdentity(identity, config.next_identity_hash)
        self._billing = self._new_billing(identity)
        self._keys = self._new_keys(identity)
        self._claims = ClaimMemory(self._clock, Quota(CAPACITY, peers.count))
        self._checker = Checker(config.providers)
        self._transport = ProviderTransport(
            config.providers, lambda _: self.log.note(Event.PROVIDER_FILES_UNUSABLE)
        )
        self._runtime = self._new_runtime(peers)
        self._service = ExchangeService(
            self._keys,
            ExchangeOpener(self._keys, self._claims),
            self._runtime,
            self.admission,
            peers,
            Quota(config.max_exchanges, peers.count),
        )
        self._settlement = None if self._billing is None else SettlementService(self._billing, peers)

    def _new_billing(self, signatory: Signatory) -> Billing | None:
        if self._config.billing is None or self._outbox is None:
            return None
        names = [provider.name for provider in self._config.providers]
        prices = self._config.billing.prices
        return Billing(prices, self._outbox, signatory, self._clock, names, self.log.note, self.log.fault)

    def _new_keys(self, signatory: Signatory) -> EpochKeys:
        billing = self._billing

        def on_change() -> None:
            self.log.note(Event.KEYS_CHANGED)
            if billing is not None:
                billing.note_keys(self._keys.key_ids)

        def price_table_hash() -> bytes:
            return b"" if billing is None else billing.prices.hash

        keys = EpochKeys(
            signatory,
            self._clock,
            epoch=self._config.epoch,
            on_change=on_change,
            price_table_hash=price_table_hash,
        )
        if billing is not None:
            billing.begin(keys.replica_id, keys.started_at)
            billing.note_keys(keys.key_ids)
        return keys

    def _new_runtime(self, peers: Peers) -> Runtime:
        config = self._config
        return Runtime(
            router=Router(
                config.providers,
                config.aggregate,
                self._transport,
                self._checker,
                on_refused=lambda: self.log.note(Event.CREDENTIAL_REFUSED),
            ),
            clock=self._clock,
            log=self.log,
            budget=RequestBudget(Quota(config.max_buffered, peers.count, least=config.max_request)),
            max_request=config.max_request,
            checker=self._checker,
            billing=self._billing,
        )

    async def serve(self, on_ready: Callable[[Address], None]) -> None:
        """Serves until SIGTERM or SIGINT, then drains. Raises ConfigError, StartError."""
        async with self._server() as (server, address):

            def ready() -> None:
                on_ready(address)
                self.log.note(Event.SERVING)
                if self._config.plaintext:
                    self.log.note(Event.PLAINTEXT)

            await serve_until_stopped(
                server,
                self.admission,
                self._config.drain,
                on_ready=ready,
                on_drain=self.begin_to_drain,
                rereading=lambda: self.log.told(Event.REREAD),
            )
        self.log.note(Event.STOPPED)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Address]:
        """Serves while the block runs and ignores signals, for programs that host a bridge.

        Raises ConfigError, StartError.
        """
        async with self._server() as (server, address):
            await server.start()
            try:
                yield address
            finally:
                await server.stop(0)

    @asynccontextmanager
    async def _server(self) -> AsyncIterator[tuple[grpc.aio.Server, Address]]:
        server = grpc.aio.server(options=server_options(STREAMS_PER_RELAY))
        self._service.add_to(server)
        if self._settlement is not None:
            self._settlement.add_to(server)
        server.add_generic_rpc_handlers((self._health.handler(),))
        await self._health.set(serving=self._keys.may_sign)
        address = listen(
            server,
            self._config.listen,
            self._config.tls,
            plaintext=self._config.plaintext,
            on_problem=lambda _: self.log.note(Event.CERTIFICATES_UNUSABLE),
        )
        try:
            async with (
                exposed_metrics(self._config.metrics, self._metrics()),
                _running(*self._watches()),
            ):
                yield server, address
        finally:
            await self._checker.aclose()
            await self._transport.aclose()
            if self._outbox is not None:
                self._outbox.close()

    def _metrics(self) -> tuple[Metric, ...]:
        attempts = self._runtime.router.attempts
        return bridge_metrics(self._keys, self._claims, self._clock, self.log, attempts, self._outbox)

    async def begin_to_drain(self) -> None:
        """Lets running exchanges finish; those that still run shortly before the end are given up."""
        self.log.note(Event.DRAINING)
        self._runtime.draining = True
        await self._health.drain()
        patience = max(0.0, self._config.drain - GIVE_UP_BEFORE)
        asyncio.get_running_loop().call_later(patience, self._runtime.give_up)

    async def _keep_health(self) -> None:
        while True:
            await asyncio.sleep(HEALTH_SECONDS)
            await self._health.set(serving=self._keys.may_sign)

    def _callers_with_tokens(self, blind: bytes | None) -> Callers | None:
        if self._config.tokens is None:
            return None
        return Callers(
            TokenFile(self._config.tokens, lambda _: self.log.note(Event.TOKENS_UNREADABLE), blind)
        )

    def _watches(self) -> Iterator[Coroutine[Any, Any, None]]:
        yield self._keys.keep_current()
        yield self.log.keep_reporting()
        yield ClockWatch(self._clock, self.log.note).keep_looking()
        yield self._keep_health()
        yield self._runtime.router.keep_trying()
        if self._billing is not None:
            yield self._billing.keep_synced()
        if self._callers is not None:
            yield self._callers.end_revoked()


@asynccontextmanager
async def _running(*coroutines: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
