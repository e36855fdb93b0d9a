"""Who may call through Envoy: the gates of a relay, which also count what Envoy forwards."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final, Protocol

from blindrelay.relay_node.audit_log import AuditLog
from blindrelay.relay_node.config import PeerConfig, RelayConfig
from blindrelay.relay_node.envoy.discovery import Rate
from blindrelay.relay_node.envoy.routes import ADDRESS_KEY
from blindrelay.relay_node.envoy.usage_pipe import End
from blindrelay.relay_node.gate import Entrant, Gate, TokenEntrant, TokenGate, token_file_of
from blindrelay.relay_node.lease_gate import LeaseGate
from blindrelay.relay_node.report import MAX_LINES
from blindrelay.serving import Admission, Callers, CallRefusedError, Context
from blindrelay.serving.leases import Lease, LeaseReader, base64url, new_lease_key, sign_lease
from blindrelay.v1.envelope import METADATA_KEY
from blindrelay.v1.exchange_pb2 import GetKeyDirectoryResponse
from blindrelay.v1.limits import DEADLINE_SECONDS, LEASE_ROOM, MAX_DIRECTORIES_SIZE
from blindrelay.v1.outer_status import OuterStatus

BATCH_SECONDS: Final = 0.25
"""Seconds that a line waits for others at most.

Envoy keeps them for 0.1 seconds itself, and only an account near its limit waits for what the ledger answers.
"""

LEASE_SECONDS: Final = 300
"""How long a lease for a token of the file is valid."""

_DEADLINE_SECONDS: Final = DEADLINE_SECONDS[-1]
"""The deadline that Envoy sets for every exchange."""

_ANY_UNITS: Final = 2**53 - 1
"""The largest integer that every reader of JSON reads exactly."""

PASSED_SECONDS: Final = 2.0
"""How long an exchange is known after its end. It must be longer than the data plane waits for it."""

_MAX_LEASES: Final = 100_000
"""Leases that are remembered until they expire. One more, and the oldest is forgotten."""


class PassedOn:
    """The exchanges that Envoy has passed on to this process, by their envelopes.

    They are known for PASSED_SECONDS after their end: Envoy's line of the start may come later.
    """

    def __init__(self) -> None:
        self._known: Counter[str | bytes] = Counter()

    @contextmanager
    def running(self, context: Context) -> Iterator[None]:
        """Notes an exchange."""
        envelopes = [value for key, value in context.invocation_metadata() or () if key == METADATA_KEY]
        self._known.update(envelopes)
        try:
            yield
        finally:
            asyncio.get_running_loop().call_later(PASSED_SECONDS, self._forget, envelopes)

    def __contains__(self, envelope: bytes) -> bool:
        return envelope in self._known

    def _forget(self, envelopes: list[str | bytes]) -> None:
        self._known.subtract(envelopes)
        for envelope in envelopes:
            if not self._known[envelope]:
                del self._known[envelope]


class EnvoyGate(Gate, Protocol):
    """A gate for calls that come through Envoy."""

    leases: LeaseReader
    passed_on: PassedOn

    @property
    def closed(self) -> bool:
        """Whether Envoy must not decide any exchange."""

    def careful(self) -> set[str]:
        """The accounts whose exchanges Envoy must not decide."""

    def rates(self) -> set[Rate]:
        """The rates of the leases that are in use."""

    def count_start(self, envelope: bytes, lease: Lease) -> int:
        """Counts an exchange that Envoy forwards. count_end() gets the number that this returns."""

    def count_end(self, lease: Lease, number: int, end: End) -> None:
        """Counts its end."""


class _Given:
    """The leases that clients got, until they expire. `clock` returns Unix seconds.

    A lease that is renewed counts once for each rate that it had: clients may still show the earlier ones.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._leases: dict[tuple[str, float | None, float], Lease] = {}

    def add(self, lease: Lease) -> None:
        renewed = lease.lease_id, lease.rate, lease.burst
        self._leases.pop(renewed, None)
        if len(self._leases) >= _MAX_LEASES:
            self._drop_oldest()
        self._leases[renewed] = lease

    def now(self) -> list[Lease]:
        """Those that have not expired, oldest first."""
        now = self._clock()
        while self._leases and next(iter(self._leases.values())).expires_at < now:
            self._drop_oldest()
        return list(self._leases.values())

    def _drop_oldest(self) -> None:
        del self._leases[next(iter(self._leases))]


class EnvoyLeaseGate(LeaseGate):
    """Admits by the ledger's leases."""

    batch_seconds = BATCH_SECONDS

    def __init__(self, config: RelayConfig, ledger: PeerConfig, admission: Admission, log: AuditLog) -> None:
        """Raises ConfigError for unusable token and TLS files."""
        super().__init__(ledger, admission, log, config.unread_seconds)
        self.leases = self._leases
        self.passed_on = PassedOn()
        self._given = _Given(time.time)

    @contextmanager
    def exchange(self, context: Context) -> Iterator[Entrant]:
        """As a relay without Envoy does it."""
        with self.passed_on.running(context), super().exchange(context) as entrant:
            yield entrant

    def _give(self, lease: Lease) -> None:
        self._given.add(lease)

    def careful(self) -> set[str]:
        """Accounts at a limit, or with a revoked lease."""
        revoked = {lease.account for lease in self._given.now() if lease.lease_id in self._revoked}
        return revoked | self._accounts.at_limit()

    @property
    def closed(self) -> bool:
        """Whether the ledger is silent, or does not keep up with the lines."""
        return self._contact.silent or len(self._report) > MAX_LINES // 2

    def _host(self, context: Context) -> str:
        """The address that Envoy reports: this process sees only a socket."""
        shown = [value for key, value in context.invocation_metadata() or () if key == ADDRESS_KEY]
        return str(shown[0]) if len(shown) == 1 else ""

    def rates(self) -> set[Rate]:
        """The rates in the leases that clients have."""
        return {Rate(lease.rate, lease.burst) for lease in self._given.now() if lease.rate is not None}

    def count_start(self, envelope: bytes, lease: Lease) -> int:
        """Reports the start to the ledger. Raises CallRefusedError if it takes no lines."""
        number = self._report.start(lease.lease_id, envelope, _DEADLINE_SECONDS)
        account = self._accounts.of(lease)
        account.enter()
        account.started(number)
        return number

    def count_end(self, lease: Lease, number: int, end: End) -> None:
        """Reports the end."""
        self._accounts.of(lease).leave()
        self._report.end(number, end.outcome, end.request_bytes, end.response_bytes)


class EnvoyTokenGate(TokenGate):
    """Admits by leases of its own, which it gives for tokens of the file."""

    room = MAX_DIRECTORIES_SIZE - LEASE_ROOM

    def __init__(self, config: RelayConfig, log: AuditLog, clock: Callable[[], float] = time.time) -> None:
        """Raises ConfigError for an unusable token file."""
        self._tokens = token_file_of(config, log)
        super().__init__(Callers(self._tokens))
        self._clock = clock
        self._room, self._most = config.max_exchanges, config.max_exchanges_per_token
        self._holders: dict[str, bytes] = {}
        self._running: Counter[str] = Counter()
        self._leases_given = 0
        self.leases = LeaseReader(clock)
        self.leases.use_keys([new_lease_key()])
        self.passed_on = PassedOn()

    @asynccontextmanager
    async def fetch(self, context: Context) -> AsyncIterator[tuple[bytes, bytes]]:
        """Raises CallRefusedError: UNAUTHENTICATED."""
        with self._callers.admitted(context.invocation_metadata()) as token:
            account, now = base64url(token[:12]), int(self._clock())
            self._holders[account] = token
            self._leases_given += 1
            claims = {
                **{"sub": account, "jti": str(self._leases_given), "aud": base64url(self.leases.node)},
                **{"iat": now, "exp": now + LEASE_SECONDS, "concurrent": self._most, "units": _ANY_UNITS},
            }
            lease = sign_lease(claims, self.leases.keys[0])
            shown = GetKeyDirectoryResponse(lease=lease, lease_seconds=LEASE_SECONDS)
            yield token, shown.SerializeToString()

    @contextmanager
    def exchange(self, context: Context) -> Iterator[Entrant]:
        """Raises CallRefusedError: LEASE_UNKNOWN, OVERLOADED."""
        lease = self.leases.shown(context.invocation_metadata())
        holder = None if lease is None else self._holders.get(lease.account)
        if lease is None or holder is None or self._tokens.revoked([holder]):
            raise CallRefusedError(OuterStatus.LEASE_UNKNOWN)
        if self._running[lease.account] >= self._share():
            raise CallRefusedError(OuterStatus.OVERLOADED)
        with self.passed_on.running(context):
            yield TokenEntrant(holder)

    @property
    def closed(self) -> bool:
        """Never."""
        return False

    def careful(self) -> set[str]:
        """The accounts whose token is revoked, or whose share is used up."""
        share = self._share()
        full = {account for account, running in self._running.items() if running >= share}
        revoked = self._tokens.revoked(self._holders.values())
        return full | {account for account, holder in self._holders.items() if holder in revoked}

    def _share(self) -> int:
        """How many exchanges one token may run: never more than are free, so at most half of all."""
        return min(self._most, max(1, self._room - self._running.total()))

    def rates(self) -> set[Rate]:
        """None: a token of the file has no rate."""
        return set()

    def count_start(self, envelope: bytes, lease: Lease) -> int:
        """Counts it for the token's share."""
        self._running[lease.account] += 1
        return self._running[lease.account]

    def count_end(self, lease: Lease, number: int, end: End) -> None:
        """Gives the share back."""
        self._running[lease.account] -= 1
        if not self._running[lease.account]:
            del self._running[lease.account]


def envoy_gate(config: RelayConfig, admission: Admission, log: AuditLog) -> EnvoyGate:
    """The gate that the configuration asks for. Raises ConfigError for unusable token and TLS files."""
    if config.ledger is not None:
        return EnvoyLeaseGate(config, config.ledger, admission, log)
    return EnvoyTokenGate(config, log)
