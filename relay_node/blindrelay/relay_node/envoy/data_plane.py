"""Keeps Envoy's files in step with what the control process knows, and counts what Envoy forwards."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

from blindrelay.relay_node.audit_log import AuditLog, Event
from blindrelay.relay_node.config import ReplicaConfig
from blindrelay.relay_node.envoy.discovery import Rate, admission, clusters, rates, routes
from blindrelay.relay_node.envoy.folder import EnvoyFolder
from blindrelay.relay_node.envoy.gates import EnvoyGate
from blindrelay.relay_node.envoy.usage_pipe import End, Start, usage_from
from blindrelay.relay_node.replica import Replica
from blindrelay.serving import CallRefusedError, ConfigError
from blindrelay.serving.leases import base64url
from blindrelay.v1.envelope import EnvelopeError, parse_envelope

LOOK_SECONDS: Final = 0.25
"""Between two looks for changes. Until Envoy knows a key, its exchanges go to the control process."""

_MAX_RUNNING: Final = 1_000_000
"""Exchanges whose end is waited for. Envoy writes one line for each end, but may be killed."""


class DataPlane:
    """One Envoy, seen from its control process."""

    def __init__(
        self, folder: EnvoyFolder, replicas: Sequence[Replica], gate: EnvoyGate, log: AuditLog
    ) -> None:
        self._folder = folder
        self._gate = gate
        self._log = log
        self._replicas = {f"bridge-{number}": replica for number, replica in enumerate(replicas)}
        self._keys: dict[bytes, str] = {}
        self._careful: frozenset[str] = frozenset()
        self._running: dict[bytes, Any] = {}

    @contextmanager
    def connected(self) -> Iterator[None]:
        """Reads Envoy's usage lines while the block runs. The files are there when it begins."""
        self.publish()
        with usage_from(self._folder.pipe, self._take):
            yield

    async def run(self) -> None:
        """Publishes what changes, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                self.publish()
            except ConfigError:
                self._log.event(Event.ENVOY_UNWRITABLE)

    def publish(self) -> None:
        """Writes what has changed. Raises ConfigError."""
        configs = self._configs
        self._keys = {
            key_id: name for name, replica in self._replicas.items() for (_, key_id) in replica.keys
        }
        self._careful = frozenset(self._gate.careful())
        self._folder.publish("clusters", clusters(configs))
        self._folder.publish(
            "admission", admission(base64url(self._gate.leases.node), self._gate.leases.keys)
        )
        self._folder.publish("rates", rates(sorted(self._gate.rates(), key=_order)))
        self._folder.publish("routes", routes(self._keys, configs, sorted(self._careful)))

    @property
    def bridges_known(self) -> bool:
        """Whether a key of every bridge is published."""
        return set(self._keys.values()) == set(self._replicas)

    @property
    def _configs(self) -> Mapping[str, ReplicaConfig]:
        return {name: replica.config for name, replica in self._replicas.items()}

    def _take(self, usage: Start | End) -> None:
        if isinstance(usage, Start):
            self._start(usage)
            return
        started = self._running.pop(usage.envelope, None)
        if started is not None:
            self._gate.count_end(started, usage)
            self._log.exchange(usage.outcome, usage.request_bytes, usage.response_bytes)

    def _start(self, start: Start) -> None:
        """Counts an exchange, unless the control process gets it, or Envoy refuses it."""
        lease = self._gate.leases.read(start.lease)
        try:
            key_id = parse_envelope(start.envelope).key_id
        except EnvelopeError:
            return
        forwarded = lease is not None and key_id in self._keys and lease.account not in self._careful
        if lease is None or not forwarded or start.envelope in self._running:
            return
        if len(self._running) >= _MAX_RUNNING:
            del self._running[next(iter(self._running))]
        with suppress(CallRefusedError):  # the ledger takes no lines; the account is careful by now
            self._running[start.envelope] = self._gate.count_start(start, lease)


def _order(rate: Rate) -> tuple[float, float]:
    return rate.per_second, rate.burst
