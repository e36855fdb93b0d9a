"""What relays call: leases for their clients, and one stream of lines for each relay process."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message

from blindrelay.ledger.async_books import AsyncBooks
from blindrelay.ledger.batches import batches
from blindrelay.ledger.books import Books, BooksError, End, Lease, Limit, Start
from blindrelay.ledger.lease_keys import LeaseKeys
from blindrelay.ledger.nodes import Node, Nodes, allowance_message, limit_message
from blindrelay.serving import (
    Admission,
    Callers,
    CallRefusedError,
    Context,
    first_message,
    guarded,
    write_in_time,
)
from blindrelay.serving.leases import NODE_SIZE, base64url, sign_lease
from blindrelay.v1.ledger_pb2 import (
    GetLeaseRequest,
    GetLeaseResponse,
    ReportLine,
    ReportRequest,
)
from blindrelay.v1.outer_status import OuterStatus

SERVICE: Final = "blindrelay.v1.LedgerService"

DIGEST_SIZE: Final = 32
"""Bytes of a token's SHA-256."""

_REFUSALS: Final = frozenset(status.details for status in OuterStatus)

MessageT = TypeVar("MessageT", bound=Message)


@dataclass(frozen=True)
class Reported:
    """A message of a relay: the number of its first line, and its lines."""

    first_sequence: int
    lines: list[Start | End]


class LedgerService:
    """Every call needs the token of a relay. `on_fault` is called after an internal error."""

    def __init__(
        self,
        books: AsyncBooks,
        callers: Callers,
        admission: Admission,
        nodes: Nodes,
        keys: LeaseKeys,
        on_fault: Callable[[], None],
    ) -> None:
        self._books = books
        self._callers = callers
        self._admission = admission
        self._nodes = nodes
        self._keys = keys
        self._on_fault = on_fault
        self.refusals: Counter[str] = Counter()
        """Leases that were refused and exchanges that ended badly since the start, by outer status."""
        self.rejected_lines = 0

    def handler(self) -> grpc.GenericRpcHandler:
        """The service, for a gRPC server. Both methods are streaming here, as a relay's are."""
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "GetLease": grpc.stream_stream_rpc_method_handler(guarded(self._get_lease, self._on_fault)),
                "Report": grpc.stream_stream_rpc_method_handler(guarded(self._report, self._on_fault)),
            },
        )

    async def _get_lease(self, _: object, context: Context) -> None:
        with self._callers.admitted(context.invocation_metadata()), self._admission.admit():
            request = decoded(GetLeaseRequest, await first_message(context))
            if len(request.token_digest) != DIGEST_SIZE or len(request.node) != NODE_SIZE:
                raise CallRefusedError(OuterStatus.MALFORMED)
            with books_or_unavailable():
                await self._nodes.hear(request.node)
                lease = await self._books.do(Books.lease, request.token_digest, request.node, self._nodes.now)
            await write_in_time(context, self._lease_response(lease).SerializeToString())
            if isinstance(lease, Lease):
                await self._nodes.refresh((lease.account,), among=lease.others)

    def _lease_response(self, lease: Lease | Limit) -> GetLeaseResponse:
        if isinstance(lease, Limit):
            self.refusals[lease.status] += 1
            return GetLeaseResponse(limit=limit_message(lease))
        return GetLeaseResponse(
            lease=sign_lease(claims(lease), self._keys.signing),
            lease_seconds=lease.expires_at - lease.issued_at,
            allowance=allowance_message(lease.allowance),
        )

    async def _report(self, _: object, context: Context) -> None:
        with self._callers.admitted(context.invocation_metadata()):
            hello = decoded(ReportRequest, await first_message(context))
            if hello.WhichOneof("request") != "hello" or len(hello.hello.node) != NODE_SIZE:
                raise CallRefusedError(OuterStatus.MALFORMED)
            name = hello.hello.node
            node = self._nodes.join(name)
            try:
                await self._greet(name, node)
                await _first_of(self._read_lines(context, name, node), _write_messages(context, node))
            finally:
                self._nodes.leave(name, node)

    async def _greet(self, name: bytes, node: Node) -> None:
        """The first message. Responses are sent in the order of the messages."""
        now = self._nodes.now
        node.tell(acknowledged=await self._books.insist(Books.acknowledged, name), keys=self._keys.keys)
        node.tell(revoked=await self._books.insist(Books.revoked_leases, now))
        node.tell(allowances=await self._books.insist(Books.allowances, name, now))

    async def _read_lines(self, context: Context, name: bytes, node: Node) -> None:
        async with aclosing(batches(_reports(context), lambda report: len(report.lines))) as arriving:
            async for batch in arriving:
                for report in joined(batch):
                    await self._take(report, name, node)

    async def _take(self, report: Reported, name: bytes, node: Node) -> None:
        first, lines = report.first_sequence, report.lines
        taken = await self._books.insist(Books.take_lines, name, first, lines, self._nodes.now)
        self.rejected_lines += taken.rejected
        node.tell(acknowledged=taken.acknowledged, allowances=taken.allowances)
        for line in lines:
            if isinstance(line, End) and line.outcome in _REFUSALS:
                self.refusals[line.outcome] += 1


def claims(lease: Lease) -> dict[str, object]:
    """A lease's claims (RFC 7519). Without a claim there is no limit."""
    found: dict[str, object] = {
        "sub": lease.account,
        "jti": lease.id,
        "aud": base64url(lease.node),
        "iat": lease.issued_at,
        "exp": lease.expires_at,
        "concurrent": lease.concurrent,
        "units": lease.units,
    }
    optional = {
        "rate": None if lease.rate is None else f"{lease.rate:g}/{lease.burst or max(1, lease.rate):g}",
        "bridges": lease.scope.bridges or None,
        "classes": lease.scope.classes or None,
        "addresses": lease.scope.addresses or None,
    }
    return found | {name: value for name, value in optional.items() if value is not None}


@contextmanager
def books_or_unavailable() -> Iterator[None]:
    """Refuses a call with LEDGER_UNAVAILABLE while the books cannot be used."""
    try:
        yield
    except BooksError:
        raise CallRefusedError(OuterStatus.LEDGER_UNAVAILABLE, retry_after=1) from None


def decoded(message_type: type[MessageT], encoded: bytes) -> MessageT:
    """Raises CallRefusedError: MALFORMED."""
    try:
        return message_type.FromString(encoded)
    except DecodeError:
        raise CallRefusedError(OuterStatus.MALFORMED) from None


async def _reports(context: Context) -> AsyncIterator[Reported]:
    while isinstance(message := await context.read(), bytes):
        request = decoded(ReportRequest, message)
        if request.WhichOneof("request") != "lines":
            raise CallRefusedError(OuterStatus.MALFORMED)
        yield Reported(request.lines.first_sequence, [_line(line) for line in request.lines.lines])


def joined(batch: Iterable[Reported]) -> Iterator[Reported]:
    """The same lines in as few messages as possible."""
    whole: Reported | None = None
    for report in batch:
        if whole is not None and report.first_sequence == whole.first_sequence + len(whole.lines):
            whole.lines.extend(report.lines)
            continue
        if whole is not None:
            yield whole
        whole = report
    if whole is not None:
        yield whole


def _line(line: ReportLine) -> Start | End:
    if line.WhichOneof("line") == "start":
        return Start(line.start.lease_id, line.start.envelope, line.start.deadline_seconds)
    if line.WhichOneof("line") == "end":
        end = line.end
        return End(end.start_sequence, end.outcome, end.request_bytes, end.response_bytes)
    raise CallRefusedError(OuterStatus.MALFORMED)


async def _write_messages(context: Context, node: Node) -> None:
    while True:
        message = await node.next_message()
        if node.replaced:
            return
        await write_in_time(context, message.SerializeToString())


async def _first_of(*works: Awaitable[None]) -> None:
    """Runs tasks until one ends, and ends the others."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()
