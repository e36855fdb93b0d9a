"""The admin service, for a gRPC server: who may call, and which errors callers get."""

from __future__ import annotations

import hmac
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, NoReturn

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from blindrelay.admin.v1.admin_pb2 import DESCRIPTOR
from blindrelay.ledger.admin_token import ACTOR_KEY
from blindrelay.ledger.administration.account_calls import AccountCalls
from blindrelay.ledger.administration.context import AdminContext
from blindrelay.ledger.administration.report_calls import ReportCalls
from blindrelay.ledger.administration.unit_calls import UnitCalls
from blindrelay.ledger.books import BooksError, InvalidError, TakenError, UnknownError
from blindrelay.v1.grpc_profile import authorization

SERVICE: Final = DESCRIPTOR.services_by_name["AdminService"].full_name
"""blindrelay.admin.v1.AdminService"""

_ACTOR: Final = re.compile(r"[\x21-\x7e]{1,64}")
_CAPITAL: Final = re.compile(r"(?<!^)(?=[A-Z])")

_CODES: Final = (
    (UnknownError, grpc.StatusCode.NOT_FOUND),
    (TakenError, grpc.StatusCode.ALREADY_EXISTS),
    (InvalidError, grpc.StatusCode.INVALID_ARGUMENT),
    (BooksError, grpc.StatusCode.UNAVAILABLE),
)

Context = grpc.aio.ServicerContext[Any, Any]


class AdminService:
    """Every call needs the admin token. `on_fault` is called with an internal error."""

    def __init__(self, context: AdminContext, token: str, on_fault: Callable[[Exception], None]) -> None:
        self._calls = (AccountCalls(context), UnitCalls(context), ReportCalls(context))
        self._authorization = authorization(token)
        self._on_fault = on_fault

    def handler(self) -> grpc.GenericRpcHandler:
        """The service, with a handler for each method of the .proto file."""
        methods = DESCRIPTOR.services_by_name["AdminService"].methods
        return grpc.method_handlers_generic_handler(
            SERVICE, {method.name: self._handler(method) for method in methods}
        )

    def _handler(self, method: MethodDescriptor) -> grpc.RpcMethodHandler[Any, Any]:
        call = self._call(_CAPITAL.sub("_", method.name).lower())
        request, response = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
        if method.server_streaming:
            return grpc.unary_stream_rpc_method_handler(
                self._streaming(call), request.FromString, response.SerializeToString
            )
        return grpc.unary_unary_rpc_method_handler(
            self._single(call), request.FromString, response.SerializeToString
        )

    def _call(self, name: str) -> Callable[[Any, str], Any]:
        call: Callable[[Any, str], Any] = next(
            getattr(calls, name) for calls in self._calls if hasattr(calls, name)
        )
        return call

    def _single(self, call: Callable[[Any, str], Awaitable[Message]]) -> Callable[[Any, Context], Any]:
        async def run(request: Any, context: Context) -> Message:
            await self._check_token(context)
            try:
                return await call(request, _actor(context))
            except Exception as error:
                await self._refuse(context, error)

        return run

    def _streaming(
        self, call: Callable[[Any, str], AsyncIterator[Message]]
    ) -> Callable[[Any, Context], AsyncIterator[Message]]:
        async def run(request: Any, context: Context) -> AsyncIterator[Message]:
            await self._check_token(context)
            try:
                async for response in call(request, _actor(context)):
                    yield response
            except Exception as error:
                await self._refuse(context, error)

        return run

    async def _check_token(self, context: Context) -> None:
        key, expected = self._authorization
        shown = [value for name, value in context.invocation_metadata() or () if name == key]
        if len(shown) != 1 or not hmac.compare_digest(_bytes(shown[0]), expected.encode()):
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "the admin token is missing or wrong")

    async def _refuse(self, context: Context, error: Exception) -> NoReturn:
        """Ends the call. Only errors of the books tell the caller what happened."""
        for kind, code in _CODES:
            if isinstance(error, kind):
                await context.abort(code, str(error))
        self._on_fault(error)
        await context.abort(grpc.StatusCode.INTERNAL, "an internal error: see the ledger's log")


def _actor(context: Context) -> str:
    shown = [value for key, value in context.invocation_metadata() or () if key == ACTOR_KEY]
    return (
        shown[0]
        if len(shown) == 1 and isinstance(shown[0], str) and _ACTOR.fullmatch(shown[0])
        else "unknown"
    )


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode()
