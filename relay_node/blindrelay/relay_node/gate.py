"""Who may call: without a ledger a client with a token of the file; with one, see lease_gate.py."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Hashable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
)
from typing import Protocol

import grpc

from blindrelay.relay_node.audit_log import AuditLog, Event
from blindrelay.relay_node.config import RelayConfig
from blindrelay.relay_node.forwarding import Tally
from blindrelay.serving import Admission, Callers, ConfigError, Context, TokenFile
from blindrelay.serving.metrics import Metric
from blindrelay.v1.envelope_pb2 import Envelope
from blindrelay.v1.limits import MAX_DIRECTORIES_SIZE


class Entrant(Protocol):
    """One admitted exchange."""

    @property
    def holder(self) -> Hashable:
        """The owner of the shares that it uses."""

    def starting(self, encoded: bytes, envelope: Envelope, tally: Tally) -> AbstractAsyncContextManager[None]:
        """Surrounds what goes to the bridge. Raises CallRefusedError if the exchange may not start."""


class Gate(Protocol):
    """Admits calls while a block runs. Raises CallRefusedError, also when the right to call is revoked."""

    room: int
    """Bytes for the directories in a response. A lease takes the rest."""

    def exchange(self, context: Context) -> AbstractContextManager[Entrant]:
        """Admits an exchange."""

    def fetch(self, context: Context) -> AbstractAsyncContextManager[tuple[Hashable, bytes]]:
        """Admits a call for directories. Yields whose shares it uses, and the encoded lease, if any."""

    def services(self, on_fault: Callable[[], None]) -> tuple[grpc.GenericRpcHandler, ...]:
        """What the relay serves besides exchanges and directories."""

    def metrics(self, log: AuditLog) -> tuple[Metric, ...]:
        """Further metrics."""

    async def run(self) -> None:
        """Follows who may call, until cancelled."""

    async def finish(self) -> None:
        """Is called when the last call has ended, before run() is cancelled."""


class TokenEntrant:
    """A client with a token of the file. It may start what the relay has room for."""

    __slots__ = ("holder",)

    def __init__(self, holder: bytes) -> None:
        self.holder = holder

    @asynccontextmanager
    async def starting(self, encoded: bytes, envelope: Envelope, tally: Tally) -> AsyncIterator[None]:
        """Lets every exchange start."""
        yield


class TokenGate:
    """Admits calls with a token of the file."""

    room = MAX_DIRECTORIES_SIZE

    def __init__(self, callers: Callers) -> None:
        self._callers = callers

    @contextmanager
    def exchange(self, context: Context) -> Iterator[Entrant]:
        """Raises CallRefusedError: UNAUTHENTICATED."""
        with self._callers.admitted(context.invocation_metadata()) as token:
            yield TokenEntrant(token)

    @asynccontextmanager
    async def fetch(self, context: Context) -> AsyncIterator[tuple[bytes, bytes]]:
        """Raises CallRefusedError: UNAUTHENTICATED."""
        with self._callers.admitted(context.invocation_metadata()) as token:
            yield token, b""

    def services(self, on_fault: Callable[[], None]) -> tuple[grpc.GenericRpcHandler, ...]:
        """None."""
        return ()

    def metrics(self, log: AuditLog) -> tuple[Metric, ...]:
        """None."""
        return ()

    async def run(self) -> None:
        """Ends the calls of tokens that are removed from the file."""
        await self._callers.end_revoked()

    async def finish(self) -> None:
        """Does nothing."""


def gate_of(config: RelayConfig, admission: Admission, log: AuditLog) -> Gate:
    """The gate that the configuration asks for. Raises ConfigError for unusable token and TLS files."""
    if config.ledger is not None:
        from blindrelay.relay_node.lease_gate import LeaseGate  # not needed without a ledger

        return LeaseGate(config.ledger, admission, log, config.unread_seconds)
    return TokenGate(Callers(token_file_of(config, log)))


def token_file_of(config: RelayConfig, log: AuditLog) -> TokenFile:
    """The tokens of a relay without a ledger. Raises ConfigError if there are none or they are unusable."""
    if config.tokens is None:
        raise ConfigError("a relay needs a tokens file or a [ledger]")
    return TokenFile(config.tokens, on_problem=lambda _: log.event(Event.TOKENS_UNREADABLE))
