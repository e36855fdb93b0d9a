"""The ledger as a server: its listeners, its streams from bridges, what it does every few seconds."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import grpc

from blindrelay.ledger.account_service import AccountService
from blindrelay.ledger.admin_token import load_or_make_admin_token
from blindrelay.ledger.administration.context import AdminContext
from blindrelay.ledger.administration.server import admin_server
from blindrelay.ledger.async_books import AsyncBooks
from blindrelay.ledger.audit_log import AuditLog, Event
from blindrelay.ledger.books import Books, BooksError, LedgerError
from blindrelay.ledger.books import Settlement as Figures
from blindrelay.ledger.config import LedgerConfig
from blindrelay.ledger.lease_keys import LeaseKeys
from blindrelay.ledger.ledger_service import LedgerService
from blindrelay.ledger.metrics import ledger_metrics
from blindrelay.ledger.nodes import Nodes
from blindrelay.ledger.only_ledger import only_ledger
from blindrelay.ledger.page import Pages
from blindrelay.ledger.settlement import Settlement
from blindrelay.serving import (
    STREAMS_PER_RELAY,
    Address,
    Admission,
    Callers,
    StartError,
    TokenFile,
    authorization,
    listen,
    serve_until_stopped,
    server_options,
)
from blindrelay.serving.boot_clock import since_boot
from blindrelay.serving.health import Health
from blindrelay.serving.metrics import exposed_metrics

TIDY_SECONDS: Final = 1.0
"""Seconds between two checks of lapsed exchanges, signing keys, lost relays and other ledgers."""

FIGURES_SECONDS: Final = 15.0
"""Seconds between two reads of the books' figures for the metrics."""

MAX_CALLS: Final = 1_000
"""Concurrent calls of relays, besides their streams."""

Work = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Listening:
    """Where a ledger serves. `page` is a URL."""

    relays: Address
    admin: Address
    page: str | None


class Ledger:
    """One ledger process. `clock` returns Unix seconds. Create it in a running event loop."""

    def __init__(
        self, config: LedgerConfig, log: AuditLog | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        """Raises ConfigError for unusable files, StartError for unusable books."""
        self._config = config
        self._log = log or AuditLog()
        self._clock = clock
        self._token = load_or_make_admin_token(config.admin_token)
        self._admission = Admission(MAX_CALLS)
        self._health = Health()
        self._callers = Callers(
            TokenFile(config.tokens, on_problem=lambda _: self._log.event(Event.TOKENS_UNREADABLE))
        )
        books = _open_books(config, self._log)
        self._books = AsyncBooks(books)
        self._nodes = Nodes(self._books, clock, since_boot, shared=isinstance(config.books, str))
        self._keys = LeaseKeys(books.lease_keys(int(clock())), time.monotonic)
        self._revoked = frozenset(books.revoked_leases(int(clock())))
        self._figures: Figures | None = None
        self._service = LedgerService(
            self._books, self._callers, self._admission, self._nodes, self._keys, self._fault
        )
        self._accounts = AccountService(self._books, self._callers, self._admission, clock, self._fault)
        self._settlements = [
            Settlement(bridge, self._books, self._nodes.refresh, clock, self._log)
            for bridge in config.bridges
        ]
        self._context = AdminContext(
            self._books,
            clock,
            self._changed,
            nodes=lambda: len(self._nodes),
            refusals=self._service.refusals,
            settlements=self._settlements,
            started_at=int(clock()),
        )

    async def serve(self, on_ready: Callable[[Listening], None]) -> None:
        """Serves until SIGTERM or SIGINT. Raises ConfigError, StartError."""
        async with self._servers() as (server, listening):

            def ready() -> None:
                self._log.event(Event.STARTED)
                if self._config.plaintext:
                    self._log.event(Event.PLAINTEXT)
                on_ready(listening)

            await serve_until_stopped(
                server,
                self._admission,
                self._config.drain_seconds,
                on_ready=ready,
                on_drain=self._drain,
                rereading=lambda: self._log.told(Event.REREAD),
            )
        self._log.event(Event.STOPPED)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Listening]:
        """Serves while the block runs, without signal handlers. For programs that host a ledger."""
        async with self._servers() as (server, listening):
            await server.start()
            try:
                yield listening
            finally:
                await server.stop(0)

    @contextlib.asynccontextmanager
    async def _servers(self) -> AsyncIterator[tuple[grpc.aio.Server, Listening]]:
        config = self._config
        try:
            with only_ledger(config.books) if isinstance(config.books, Path) else nullcontext():
                server = grpc.aio.server(options=server_options(STREAMS_PER_RELAY))
                server.add_generic_rpc_handlers(
                    (self._service.handler(), self._accounts.handler(), self._health.handler())
                )
                await self._health.set(serving=True)
                async with (
                    self._metrics(),
                    self._administration() as (admin, page),
                    self._running(*self._works()),
                ):
                    relays = listen(
                        server,
                        config.listen,
                        config.tls,
                        plaintext=config.plaintext,
                        on_problem=lambda _: self._log.event(Event.CERTIFICATES_UNUSABLE),
                    )
                    yield server, Listening(relays, admin, page)
        finally:
            self._books.close()

    @contextlib.asynccontextmanager
    async def _administration(self) -> AsyncIterator[tuple[Address, str | None]]:
        """Serves the operator: the admin service, and the pages if there are any."""
        server = admin_server(self._context, self._token, self._log.fault)
        address = listen(server, self._config.admin, None)
        await server.start()
        try:
            if self._config.page is None:
                yield address, None
                return
            async with grpc.aio.insecure_channel(str(address)) as channel:
                pages = self._context.links = Pages(self._config.page, self._clock)
                async with self._running(lambda: pages.serve(channel, (authorization(self._token),))):
                    yield address, pages.url
        finally:
            await server.stop(None)

    def _metrics(self) -> contextlib.AbstractAsyncContextManager[Address | None]:
        metrics = ledger_metrics(
            lambda: len(self._nodes),
            self._service.refusals,
            self._settlements,
            lambda: self._figures,
            self._clock,
        )
        return exposed_metrics(self._config.metrics, metrics)

    def _works(self) -> list[Work]:
        """What runs beside the calls."""
        return [
            *(settlement.run for settlement in self._settlements),
            partial(self._repeat, self._tidy, TIDY_SECONDS),
            partial(self._repeat, self._read_figures, FIGURES_SECONDS),
            self._callers.end_revoked,
            self._log.keep_reporting,
        ]

    @contextlib.asynccontextmanager
    async def _running(self, *works: Work) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self._noted(work)) for work in works]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _noted(self, work: Work) -> None:
        """Runs it. If it fails, the log says why."""
        try:
            await work()
        except Exception as error:
            self._log.fault(error)

    async def _repeat(self, work: Work, seconds: float) -> None:
        """Runs until cancelled. An internal error ends one round, never the ledger."""
        while True:
            try:
                await work()
            except LedgerError:
                self._log.event(Event.BOOKS_FAILED)
            except Exception as error:
                self._log.fault(error)
            await asyncio.sleep(seconds)

    async def _tidy(self) -> None:
        now = int(self._clock())
        if self._keys.update(await self._books.do(Books.lease_keys, now)):
            self._nodes.tell_all(keys=self._keys.keys)
        await self._nodes.refresh(await self._books.do(Books.tidy, now))
        await self._nodes.release_lost()
        if isinstance(self._config.books, str):
            await self._nodes.refresh_all()
        await self._tell_revoked(now)

    async def _read_figures(self) -> None:
        self._figures = await self._books.read(Books.settlement, int(self._clock()))

    async def _changed(self, accounts: Collection[str]) -> None:
        """Tells the relays of accounts that an operator changed."""
        await self._tell_revoked(int(self._clock()))
        await self._nodes.refresh(accounts)

    async def _tell_revoked(self, now: int) -> None:
        revoked = frozenset(await self._books.do(Books.revoked_leases, now))
        if news := revoked - self._revoked:
            self._nodes.tell_all(revoked=sorted(news))
        self._revoked = revoked

    async def _drain(self) -> None:
        self._log.event(Event.DRAINING)
        await self._health.drain()

    def _fault(self) -> None:
        self._log.event(Event.FAULT)


def _open_books(config: LedgerConfig, log: AuditLog) -> Books:
    try:
        return Books(config.books, on_wait=lambda: log.event(Event.BOOKS_BUSY))
    except BooksError as error:
        raise StartError(str(error)) from None
