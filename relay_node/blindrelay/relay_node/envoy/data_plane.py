"""Keeps Envoy's files in step with what the control process knows, and counts what Envoy forwards."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

from blindrelay.relay_node.audit_log import AuditLog, Event
from blindrelay.relay_node.config import ReplicaConfig
from blindrelay.relay_node.envoy.discovery import admission, by_name, clusters, rates
from blindrelay.relay_node.envoy.folder import EnvoyFolder
from blindrelay.relay_node.envoy.gates import EnvoyGate
from blindrelay.relay_node.envoy.routes import LONGEST_SECONDS, forwards, routes
from blindrelay.relay_node.envoy.usage_pipe import End, Start, usage_from
from blindrelay.relay_node.replica import Replica
from blindrelay.serving import CallRefusedError, ConfigError
from blindrelay.serving.leases import Lease, base64url
from blindrelay.v1.envelope import EnvelopeError, parse_envelope
from blindrelay.v1.outer_status import OuterStatus

LOOK_SECONDS: Final = 0.25
"""Seconds between two checks for changes. Exchanges with a new key go to the control process until then."""

_MAX_RUNNING: Final = 1_000_000
"""Exchanges that are kept until their end."""

_WITHDRAW_SECONDS: Final = 0.5
"""Seconds for Envoy to stop deciding, and to write the lines of what it took before."""

_SETTLED_SECONDS: Final = 1.0
"""Seconds until Envoy has read new routes, and what it passes on has come."""

_GRACE_SECONDS: Final = 10.0
"""Seconds for the line of a start whose lease has expired. Envoy itself allows two seconds."""

_LATE_SECONDS: Final = 60
"""Seconds for the line of an end that Envoy has written."""


@dataclass(slots=True)
class _Exchange:
    """One that Envoy has taken. `number` is what the gate returned when it counted it, by the envelope."""

    envelope: bytes
    lease: Lease
    since: float
    number: int | None = None


class DataPlane:
    """One Envoy, seen from its control process. `clock` returns seconds that only grow."""

    def __init__(
        self,
        folder: EnvoyFolder,
        replicas: Sequence[Replica],
        gate: EnvoyGate,
        log: AuditLog,
        max_exchanges: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._gate = gate
        self._log = log
        self._max_exchanges = max_exchanges
        self._replicas = by_name(replicas)
        self._keys: dict[bytes, str] = {}
        self._careful: frozenset[str] = frozenset()
        self._running: dict[str, _Exchange] = {}
        self._unsettled: deque[tuple[str, _Exchange]] = deque()
        self._clock = clock
        self._withdrawn = False
        self._pipe = folder.pipe_number()

    @contextmanager
    def connected(self) -> Iterator[None]:
        """Reads Envoy's usage lines while the block runs. The files are there when it begins."""
        self.publish()
        with usage_from(self._folder.pipe, self._take, self._forget_all):
            yield

    async def run(self) -> None:
        """Publishes what changes, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self._forget_lost()
            self._settle()
            try:
                self.publish()
            except ConfigError:
                self._log.event(Event.ENVOY_UNWRITABLE)

    async def withdraw(self) -> None:
        """Lets Envoy start nothing alone, since its lines will not be read. Running exchanges go on."""
        self._withdrawn = True
        with suppress(ConfigError):  # the next process uses the folder as it is
            self.publish()
        await asyncio.sleep(_WITHDRAW_SECONDS)

    def publish(self) -> None:
        """Writes what has changed. Raises ConfigError."""
        holders = {key_id: name for name, replica in self._replicas.items() for (_, key_id) in replica.keys}
        unread = self._withdrawn or self._folder.pipe_number() != self._pipe
        self._keys = {} if unread or self._gate.closed else holders
        self._careful = frozenset(self._gate.careful())
        publish = self._folder.publish
        publish("clusters", clusters, self._configs, self._folder.control, self._max_exchanges)
        publish("admission", admission, base64url(self._gate.leases.node), self._gate.leases.keys)
        publish("rates", rates, sorted(self._gate.rates()))
        shown = {name: replica.metadata() for name, replica in self._replicas.items()}
        publish("routes", routes, self._keys, shown, sorted(self._careful))

    @property
    def bridges_known(self) -> bool:
        """Whether a key of every bridge that is up is published."""
        replicas = self._replicas.items()
        up = {name for name, replica in replicas if replica.up}
        return all(replica.is_settled for _, replica in replicas) and up <= set(self._keys.values())

    @property
    def _configs(self) -> dict[str, ReplicaConfig]:
        return {name: replica.config for name, replica in self._replicas.items()}

    def _take(self, usage: Start | End) -> None:
        if isinstance(usage, Start):
            self._start(usage)
        elif (exchange := self._running.pop(usage.stream, None)) is not None:
            self._end(exchange, usage)

    def _start(self, start: Start) -> None:
        """Notes an exchange, and counts it unless the control process should get it."""
        lease = self._gate.leases.read(start.lease, _GRACE_SECONDS)
        if lease is None or not forwards(start):
            return
        try:
            key_id = parse_envelope(start.envelope).key_id
        except EnvelopeError:
            return
        if len(self._running) >= _MAX_RUNNING:
            self._forget_oldest()
        exchange = _Exchange(start.envelope, lease, self._clock())
        self._running[start.stream] = exchange
        if key_id in self._keys and lease.account not in self._careful:
            self._count(exchange)
        else:
            self._unsettled.append((start.stream, exchange))

    def _settle(self) -> None:
        """Counts what Envoy has forwarded by old routes: this process would have it otherwise."""
        latest = self._clock() - _SETTLED_SECONDS
        while self._unsettled and self._unsettled[0][1].since < latest:
            stream, exchange = self._unsettled.popleft()
            if stream in self._running and exchange.envelope not in self._gate.passed_on:
                self._count(exchange)

    def _count(self, exchange: _Exchange) -> None:
        with suppress(CallRefusedError):  # the ledger takes no more lines; the gate is closed by now
            exchange.number = self._gate.count_start(exchange.envelope, exchange.lease)
            exchange.envelope = b""  # there may be thousands of streams, each open for hours

    def _end(self, exchange: _Exchange, end: End) -> None:
        if exchange.number is None and end.cluster in self._replicas:
            self._count(exchange)  # by old routes
        if exchange.number is not None:
            self._gate.count_end(exchange.lease, exchange.number, end)
            self._log.exchange(end.outcome, end.request_bytes, end.response_bytes)

    def _forget_all(self) -> None:
        """Envoy has ended, and all exchanges with it."""
        while self._running:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        stream, exchange = next(iter(self._running.items()))
        del self._running[stream]
        self._end(exchange, End(stream, OuterStatus.INTERNAL.details, 0, 0, ""))

    def _forget_lost(self) -> None:
        """Those that Envoy has ended by now, but whose line was lost: of two Envoys, one was killed."""
        latest = self._clock() - LONGEST_SECONDS - _LATE_SECONDS
        while self._running and next(iter(self._running.values())).since < latest:
            self._forget_oldest()
