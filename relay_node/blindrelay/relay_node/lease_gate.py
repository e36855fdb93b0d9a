"""Who may call at a relay with a ledger: a client with a lease, within its limits (annex E)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from typing import Final
from urllib.parse import unquote

import grpc

from blindrelay.relay_node.account_service import AccountService
from blindrelay.relay_node.accounts import Accounts, refusal_for
from blindrelay.relay_node.audit_log import AuditLog
from blindrelay.relay_node.config import PeerConfig
from blindrelay.relay_node.contact import Contact
from blindrelay.relay_node.fetched_leases import Fetched, FetchedLeases
from blindrelay.relay_node.forwarding import Tally
from blindrelay.relay_node.gate import Entrant
from blindrelay.relay_node.ledger import Ledger, ledger_unavailable
from blindrelay.relay_node.outcomes import outcome_told
from blindrelay.relay_node.report import Report
from blindrelay.serving import Admission, CallRefusedError, Context
from blindrelay.serving.callers import RunningCalls
from blindrelay.serving.leases import MAX_SECONDS, Lease, LeaseReader
from blindrelay.serving.metrics import Metric, whole_steps
from blindrelay.serving.tokens import shown_digest
from blindrelay.v1.envelope_pb2 import Envelope
from blindrelay.v1.exchange_pb2 import GetKeyDirectoryResponse
from blindrelay.v1.grpc_profile import forwarded_deadline
from blindrelay.v1.ledger_pb2 import ReportResponse
from blindrelay.v1.limits import LEASE_ROOM, MAX_DIRECTORIES_SIZE
from blindrelay.v1.outer_status import OuterStatus

BATCH_SECONDS: Final = 0.05
"""Seconds that a line waits for others at most, since a message costs more than a line."""

KEYS_SECONDS: Final = 2.0
"""Seconds that a new lease waits for the key that signed it. The ledger sends keys on another stream."""

TIDY_SECONDS: Final = 60.0
"""Seconds between two checks for what can be forgotten."""

FINISH_SECONDS: Final = 2.0
"""Seconds for the last lines when the relay stops. A hold whose end is not reported lapses later."""


class LeaseGate:
    """Admits exchanges with a lease, and gives leases for tokens that the ledger knows.

    Create it in a running event loop. `clock` returns Unix seconds, `monotonic` seconds.
    """

    room = MAX_DIRECTORIES_SIZE - LEASE_ROOM
    batch_seconds = BATCH_SECONDS

    def __init__(
        self,
        config: PeerConfig,
        admission: Admission,
        log: AuditLog,
        unread_seconds: float,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises ConfigError for unusable token and TLS files."""
        self._ledger = Ledger(config, log, self.batch_seconds)
        self._service = AccountService(self._ledger, admission, unread_seconds)
        self._report = Report()
        self._leases = LeaseReader(clock)
        self._clock = clock
        self._monotonic = monotonic
        self._accounts = Accounts(monotonic)
        self._calls = RunningCalls()
        self._fetched = FetchedLeases(self._ask, self._is_valid, monotonic)
        self._revoked: dict[str, float] = {}
        self._news = asyncio.Event()
        self._contact = Contact()

    def services(self, on_fault: Callable[[], None]) -> tuple[grpc.GenericRpcHandler, ...]:
        """What clients ask about their accounts."""
        return (self._service.handler(on_fault),)

    def metrics(self, log: AuditLog) -> tuple[Metric, ...]:
        """Whether the ledger is reached, and how many lines it has not taken yet."""
        waiting = 0

        def look() -> None:
            nonlocal waiting
            waiting = whole_steps(len(self._report))

        log.at_report(look)
        return (
            Metric("blindrelay_relay_ledger_up", "Whether the ledger can be used.", lambda: self._ledger.up),
            Metric(
                "blindrelay_relay_ledger_lines_waiting",
                "Lines that the ledger has not taken yet, in whole tens; counted once a minute.",
                lambda: waiting,
            ),
        )

    async def run(self) -> None:
        """Reports to the ledger and follows what it says, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(
                self._ledger.keep_reporting(self._leases.node, self._report, self._take, self._contact)
            )
            tasks.create_task(self._tidy())

    async def finish(self) -> None:
        """Waits for the ledger to have every line, for at most FINISH_SECONDS."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FINISH_SECONDS):
                await self._report.settled.wait()

    @contextmanager
    def exchange(self, context: Context) -> Iterator[Entrant]:
        """Raises CallRefusedError: LEASE_UNKNOWN, or UNAUTHENTICATED when the lease is revoked meanwhile."""
        lease = self._leases.shown(context.invocation_metadata())
        if lease is None or lease.lease_id in self._revoked:
            raise CallRefusedError(OuterStatus.LEASE_UNKNOWN)
        with self._calls.running(lease.lease_id):
            yield _LeaseEntrant(lease, self, context, self._host(context))

    @asynccontextmanager
    async def started(
        self, lease: Lease, envelope: bytes, deadline_seconds: float, tally: Tally
    ) -> AsyncIterator[None]:
        """Uses one exchange of the allowance, and reports the start, and the end with what `tally` has then.

        Raises CallRefusedError: a limit, or LEDGER_UNAVAILABLE.
        """
        account = self._accounts.of(lease)
        with account.running():
            await account.allowed()
            if self._contact.silent:
                raise ledger_unavailable()
            start = self._report.start(lease.lease_id, envelope, round(deadline_seconds))
            account.started(start)

            def ended(outcome: str) -> None:
                self._report.end(start, outcome, tally.request_bytes, tally.response_bytes)

            with outcome_told(ended):
                yield

    @asynccontextmanager
    async def fetch(self, context: Context) -> AsyncIterator[tuple[str, bytes]]:
        """Raises CallRefusedError: UNAUTHENTICATED, a limit, or LEDGER_UNAVAILABLE."""
        digest = shown_digest(context.invocation_metadata())
        if digest is None:
            raise CallRefusedError(OuterStatus.UNAUTHENTICATED)
        fetched = await self._fetched.of(digest)
        left = max(0, fetched.seconds - int(self._monotonic() - fetched.at))
        yield fetched.lease.account, _shown(fetched.text, left)

    async def _ask(self, digest: bytes) -> Fetched:
        """A lease from the ledger. Raises CallRefusedError as fetch() does."""
        at = self._monotonic()
        response = await self._ledger.lease(digest, self._leases.node)
        if response.WhichOneof("result") != "lease":
            raise refusal_for(response.limit)
        lease = await self._readable(response.lease)
        self._accounts.of(lease).allow(response.allowance)
        self._give(lease)
        return Fetched(lease, response.lease, at, response.lease_seconds)

    def _is_valid(self, fetched: Fetched) -> bool:
        """Whether an exchange may show this lease."""
        return fetched.lease.lease_id not in self._revoked and self._leases.read(fetched.text) is not None

    async def _readable(self, text: str) -> Lease:
        """The lease as this process reads it, once it has the key that signed it."""
        try:
            async with asyncio.timeout(KEYS_SECONDS):
                while (lease := self._leases.read(text)) is None:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise ledger_unavailable() from None
        return lease

    def _host(self, context: Context) -> str:
        """The IP address of the client."""
        return _host(context.peer())

    def _give(self, lease: Lease) -> None:
        """Is called with each lease that a client gets."""

    def _take(self, response: ReportResponse, *, first: bool) -> None:
        """Acts on what the ledger says; `first` is the first message of a stream."""
        self._contact.heard(response.sent_at / 1_000)
        self._report.acknowledge(response.acknowledged)
        if first:
            self._accounts.void_allowances()
        for allowance in response.allowances:
            self._accounts.allow(allowance)
        if response.lease_keys:
            self._leases.use_keys(response.lease_keys)
            self._news.set()
        self._revoked.update(dict.fromkeys(response.revoked_leases, self._clock()))
        self._calls.end(response.revoked_leases)

    async def _tidy(self) -> None:
        while True:
            await asyncio.sleep(TIDY_SECONDS)
            self._forget()

    def _forget(self) -> None:
        """Forgets the accounts that are not in use, and revocations of leases that have ended."""
        now = self._clock()
        self._accounts.forget_old(now)
        self._fetched.forget_old()
        self._revoked = {lease: at for lease, at in self._revoked.items() if now - at < MAX_SECONDS}


class _LeaseEntrant:
    """An exchange under a lease."""

    __slots__ = ("_context", "_gate", "_host", "_lease")

    def __init__(self, lease: Lease, gate: LeaseGate, context: Context, host: str) -> None:
        self._lease = lease
        self._gate = gate
        self._context = context
        self._host = host

    @property
    def holder(self) -> str:
        """The account."""
        return self._lease.account

    def starting(self, encoded: bytes, envelope: Envelope, tally: Tally) -> AbstractAsyncContextManager[None]:
        """See LeaseGate.started. Raises CallRefusedError, NOT_IN_SCOPE, at once."""
        self._check_scope(envelope)
        deadline = forwarded_deadline(self._context.time_remaining())
        return self._gate.started(self._lease, encoded, deadline, tally)

    def _check_scope(self, envelope: Envelope) -> None:
        lease = self._lease
        if (
            envelope.max_units > lease.units
            or (lease.bridges is not None and envelope.identity not in lease.bridges)
            or (lease.classes is not None and envelope.service_class not in lease.classes)
            or not lease.allows_address(self._host)
        ):
            raise CallRefusedError(OuterStatus.NOT_IN_SCOPE)


def _shown(lease: str, seconds: int) -> bytes:
    """The part of a response that gives a lease for this time, encoded."""
    return GetKeyDirectoryResponse(lease=lease, lease_seconds=seconds).SerializeToString()


def _host(peer: str) -> str:
    """The IP address in gRPC's name of a peer: "ipv4:192.0.2.1:443" or "ipv6:%5B2001:db8::1%5D:443"."""
    return unquote(peer.partition(":")[2].rpartition(":")[0]).strip("[]")
