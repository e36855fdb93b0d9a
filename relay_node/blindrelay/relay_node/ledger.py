"""The relay's calls to its ledger: leases, the stream of lines, and what clients ask about their account."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from functools import partial
from typing import Any, Final, Protocol

import grpc

from blindrelay.relay_node.audit_log import AuditLog, Event, Reason
from blindrelay.relay_node.channel import open_channel
from blindrelay.relay_node.config import PeerConfig
from blindrelay.relay_node.contact import Contact
from blindrelay.relay_node.failure_reasons import reason_of
from blindrelay.relay_node.report import Report
from blindrelay.serving import CallRefusedError, ConfigError, authorization, read_token
from blindrelay.serving.files import Followed, Latest
from blindrelay.v1.channel import Metadata
from blindrelay.v1.grpc_profile import TOKEN_DIGEST_KEY
from blindrelay.v1.ledger_pb2 import (
    GetLeaseRequest,
    GetLeaseResponse,
    ReportHello,
    ReportRequest,
    ReportResponse,
)
from blindrelay.v1.outer_status import OuterStatus

GET_LEASE_METHOD: Final = "/blindrelay.v1.LedgerService/GetLease"
REPORT_METHOD: Final = "/blindrelay.v1.LedgerService/Report"

CALL_SECONDS: Final = 5.0
"""Seconds for a lease. The ledger needs one row for it."""

STATEMENT_SECONDS: Final = 60.0
"""Seconds for a client's call about its account. A month may have a million lines."""

MAX_CALLS: Final = 100
"""Concurrent calls for leases. Anybody can cause some with an invalid token."""

RETRY_SECONDS: Final = 0.25
"""Seconds after a failed stream before the next."""


UNAVAILABLE_RETRY_SECONDS: Final = 1
"""Seconds that a client is told to wait while the ledger cannot be used. It is unknown when it can."""


def ledger_unavailable() -> CallRefusedError:
    """The refusal while the ledger is silent or fails."""
    return CallRefusedError(OuterStatus.LEDGER_UNAVAILABLE, UNAVAILABLE_RETRY_SECONDS)


class Take(Protocol):
    """Gets what the ledger sends on the stream."""

    def __call__(self, response: ReportResponse, *, first: bool) -> None: ...


class Ledger:
    """The ledger at one address. Create it in a running event loop."""

    def __init__(self, config: PeerConfig, audit_log: AuditLog, batch_seconds: float) -> None:
        """Lines wait for others for `batch_seconds`. Raises ConfigError for unusable TLS and token files."""
        self.address = config.address
        self._batch_seconds = batch_seconds
        self.up: bool | None = None
        """Whether the ledger sends messages on the stream. None before the first attempt."""
        self._audit_log = audit_log
        tls = config.tls
        self._channels = Followed(
            lambda: None if tls is None else tls.version(), lambda: open_channel(config)
        )
        self._channel = self._channels.first
        self._room = asyncio.Semaphore(MAX_CALLS)
        self._token = None
        if config.token_file is not None:
            self._token = Latest(
                (config.token_file,),
                partial(read_token, config.token_file),
                lambda _: audit_log.ledger(Event.TOKEN_UNUSABLE, config.address),
            )

    async def lease(self, token_digest: bytes, node: bytes) -> GetLeaseResponse:
        """A lease for the holder of the token, or why there is none. Raises CallRefusedError: OVERLOADED,
        LEDGER_UNAVAILABLE.
        """
        ask: Any = self._channel.unary_unary(
            GET_LEASE_METHOD,
            request_serializer=GetLeaseRequest.SerializeToString,
            response_deserializer=GetLeaseResponse.FromString,
        )
        request = GetLeaseRequest(token_digest=token_digest, node=node)
        if self._room.locked():
            raise CallRefusedError(OuterStatus.OVERLOADED, retry_after=1)
        async with self._room:
            try:
                response: GetLeaseResponse = await ask(
                    request, metadata=self._metadata(), timeout=CALL_SECONDS
                )
            except grpc.aio.AioRpcError:
                raise ledger_unavailable() from None
        return response

    async def about_account(
        self, method: str, request: bytes, token_digest: bytes
    ) -> AsyncGenerator[bytes, None]:
        """The ledger's response to a client's call about its account, message by message.

        Raises CallRefusedError: what the ledger says, or LEDGER_UNAVAILABLE.
        """
        ask: Any = self._channel.unary_stream(method)
        metadata = (*self._metadata(), (TOKEN_DIGEST_KEY, token_digest))
        call = ask(request, metadata=metadata, timeout=STATEMENT_SECONDS)
        try:
            async for message in call:
                yield message
        except grpc.aio.AioRpcError as error:
            status = OuterStatus.of(error.code(), error.details()) or OuterStatus.LEDGER_UNAVAILABLE
            raise CallRefusedError(status) from None
        finally:
            call.cancel()

    async def keep_reporting(self, node: bytes, report: Report, take: Take, contact: Contact) -> None:
        """Sends the report's lines, and hands over what the ledger says, until cancelled."""
        try:
            while True:
                try:
                    contact.begin()
                    await self._report(node, report, take, contact)
                    self._become(False, Reason.CLOSED)
                except grpc.aio.AioRpcError as error:
                    self._become(False, reason_of(error))
                except grpc.aio.BaseError:
                    self._become(False, Reason.OTHER)
                except Exception:
                    self._audit_log.event(Event.FAULT)
                    self._become(False, Reason.FAULT)
                await asyncio.sleep(RETRY_SECONDS)
                await self._follow_files()
        finally:
            await self._channel.close()

    async def _report(self, node: bytes, report: Report, take: Take, contact: Contact) -> None:
        """One stream, until it ends, or until a message is read that waited too long."""
        call: Any = self._channel.stream_stream(
            REPORT_METHOD,
            request_serializer=ReportRequest.SerializeToString,
            response_deserializer=ReportResponse.FromString,
        )(metadata=self._metadata())
        sending = asyncio.create_task(_send(call, node, report, self._batch_seconds))
        try:
            first = True
            async for response in call:
                take(response, first=first)
                first = False
                if contact.silent:
                    return
                self._become(True)
        finally:
            sending.cancel()
            call.cancel()

    def _become(self, up: bool, why: Reason | None = None) -> None:
        if up is not self.up:
            self.up = up
            self._audit_log.ledger(Event.LEDGER_UP if up else Event.LEDGER_DOWN, self.address, why)

    def _metadata(self) -> Metadata:
        return () if self._token is None else (authorization(self._token()),)

    async def _follow_files(self) -> None:
        """Opens a new channel if the TLS files have changed."""
        try:
            channel = self._channels.news()
        except ConfigError:
            self._audit_log.ledger(Event.CERTIFICATES_UNUSABLE, self.address)
            return
        if channel is not None:
            retired, self._channel = self._channel, channel
            await retired.close()


async def _send(call: Any, node: bytes, report: Report, batch_seconds: float) -> None:
    """Writes the lines, first those that were not acknowledged on an earlier stream."""
    try:
        await call.write(ReportRequest(hello=ReportHello(node=node)))
        following = report.first
        while True:
            report.written.clear()
            while (lines := report.batch(following)) is not None:
                await call.write(ReportRequest(lines=lines))
                following = lines.first_sequence + len(lines.lines)
            await asyncio.sleep(batch_seconds)
            await report.written.wait()
    except (grpc.RpcError, grpc.aio.BaseError, asyncio.InvalidStateError):
        return  # the stream has ended, and reading tells why
