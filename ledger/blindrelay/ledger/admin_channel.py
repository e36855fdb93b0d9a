"""How a command reaches the admin service: the running ledger's, or its own over the same books."""

from __future__ import annotations

import getpass
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import grpc

from blindrelay.admin.v1.admin_pb2_grpc import AdminServiceStub
from blindrelay.ledger.admin_token import load_or_make_admin_token
from blindrelay.ledger.administration.context import AdminContext
from blindrelay.ledger.administration.server import admin_server
from blindrelay.ledger.administration.service import ACTOR_KEY
from blindrelay.ledger.async_books import AsyncBooks
from blindrelay.ledger.books import Books, BooksError
from blindrelay.ledger.config import LedgerConfig
from blindrelay.serving import Address, ConfigError, StartError, authorization, listen
from blindrelay.serving.tokens import new_token

if TYPE_CHECKING:
    from blindrelay.admin.v1.admin_pb2_grpc import AdminServiceAsyncStub

    AdminStub = AdminServiceAsyncStub
else:
    AdminStub = AdminServiceStub

PROBE_SECONDS: Final = 2.0
"""To find out whether somebody listens on loopback."""

_WRONG: Final = frozenset(
    {
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
    }
)


@asynccontextmanager
async def admin_stub(config: LedgerConfig) -> AsyncIterator[AdminStub]:
    """Calls of the admin service. Without a running ledger, this process opens the books and answers itself.

    Errors of calls leave the block as ConfigError if the request is wrong, and else as StartError.
    """
    connect = _running_ledger if is_serving(config.admin) else _own_service
    try:
        async with connect(config) as stub:
            yield stub
    except grpc.aio.AioRpcError as error:
        raise _explained(config, error) from None
    except BooksError as error:
        raise StartError(str(error)) from None


def is_serving(address: Address) -> bool:
    """Whether a process listens there."""
    try:
        socket.create_connection((address.host, address.port), timeout=PROBE_SECONDS).close()
    except OSError:
        return False
    return True


@asynccontextmanager
async def _running_ledger(config: LedgerConfig) -> AsyncIterator[AdminStub]:
    async with _stub(config.admin, load_or_make_admin_token(config.admin_token)) as stub:
        yield stub


@asynccontextmanager
async def _own_service(config: LedgerConfig) -> AsyncIterator[AdminStub]:
    books, (token, _) = AsyncBooks(Books(config.books)), new_token()
    server = admin_server(AdminContext(books, time.time), token, on_fault=lambda: None)
    try:
        address = listen(server, Address("127.0.0.1", 0), None)
        await server.start()
        async with _stub(address, token) as stub:
            yield stub
    finally:
        await server.stop(None)
        books.close()


@asynccontextmanager
async def _stub(address: Address, token: str) -> AsyncIterator[AdminStub]:
    metadata = (authorization(token), (ACTOR_KEY, _actor()))
    async with grpc.aio.insecure_channel(
        str(address),
        options=(("grpc.enable_http_proxy", 0),),
        interceptors=(_SingleCalls(metadata), _Streams(metadata)),
    ) as channel:
        yield AdminStub(channel)


class _Shown:
    """Adds metadata to each call."""

    def __init__(self, metadata: tuple[tuple[str, str], ...]) -> None:
        self._metadata = metadata

    def _with_metadata(self, details: Any) -> Any:
        return details._replace(metadata=grpc.aio.Metadata(*self._metadata))


class _SingleCalls(_Shown, grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        return await continuation(self._with_metadata(details), request)


class _Streams(_Shown, grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(self, continuation: Any, details: Any, request: Any) -> Any:
        return await continuation(self._with_metadata(details), request)


def _explained(config: LedgerConfig, error: grpc.aio.AioRpcError) -> ConfigError | StartError:
    details = error.details() or error.code().name
    if error.code() in _WRONG:
        return ConfigError(details)
    if error.code() is grpc.StatusCode.UNAUTHENTICATED:
        return ConfigError(f"the ledger at {config.admin} does not accept the token in {config.admin_token}")
    return StartError(f"the ledger at {config.admin} could not answer: {details}")


def _actor() -> str:
    """Who types the command, for the audit log."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):
        return "cli"
