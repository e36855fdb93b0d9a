"""How a command reaches the admin service: the running ledger's, or its own over the same books."""

from __future__ import annotations

import getpass
import socket
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import grpc

from blindrelay.admin.v1.admin_pb2_grpc import AdminServiceStub
from blindrelay.ledger.admin_token import ACTOR_KEY
from blindrelay.ledger.config import LedgerConfig
from blindrelay.serving import Address, ConfigError, StartError, authorization, read_token

if TYPE_CHECKING:
    from blindrelay.admin.v1.admin_pb2_grpc import AdminServiceAsyncStub

    AdminStub = AdminServiceAsyncStub
else:
    AdminStub = AdminServiceStub

PROBE_SECONDS: Final = 2.0
"""Seconds to find out whether a process listens on loopback."""

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
    serving = _running_ledger(config) if is_serving(config.admin) else _own_service(config)
    try:
        async with serving as (address, token), _stub(address, token) as stub:
            yield stub
    except grpc.aio.AioRpcError as error:
        raise _explained(config, error) from None


def is_serving(address: Address) -> bool:
    """Whether a process listens there."""
    try:
        socket.create_connection((address.host, address.port), timeout=PROBE_SECONDS).close()
    except OSError:
        return False
    return True


@asynccontextmanager
async def _running_ledger(config: LedgerConfig) -> AsyncIterator[tuple[Address, str]]:
    yield config.admin, read_token(config.admin_token)


def _own_service(config: LedgerConfig) -> AbstractAsyncContextManager[tuple[Address, str]]:
    from blindrelay.ledger.administration.own_service import own_service  # not needed beside a ledger

    return own_service(config.books)


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
    """The user who runs the command, for the audit log."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):
        return "cli"
