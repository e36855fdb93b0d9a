"""An admin service that answers as a test says, and keeps what it was asked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
from google.protobuf.message import Message

from blindrelay.admin.v1 import admin_pb2, admin_pb2_grpc

SERVICE = admin_pb2.DESCRIPTOR.services_by_name["AdminService"]


class ScriptedAdmin:
    """Each method answers with `answers[method]`: a message, several, an error, or a function of the request.

    A method without an answer gives an empty message.
    """

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.asked: list[tuple[str, Message]] = []
        self.metadata: list[dict[str, str | bytes]] = []

    def requests(self, method: str) -> list[Any]:
        """What this method was asked, oldest first."""
        return [request for name, request in self.asked if name == method]

    def refuse(self, method: str, code: grpc.StatusCode, details: str) -> None:
        """From now on the method fails."""
        self.answers[method] = (code, details)

    async def start(self) -> tuple[grpc.aio.Server, int]:
        """A server on a free loopback port."""
        server = grpc.aio.server()
        admin_pb2_grpc.add_AdminServiceServicer_to_server(self._servicer(), server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        return server, port

    def _servicer(self) -> admin_pb2_grpc.AdminServiceServicer:
        methods = {
            method.name: (self._stream if method.server_streaming else self._unary)(
                method.name, method.output_type.name
            )
            for method in SERVICE.methods
        }
        kind: Any = type("Scripted", (admin_pb2_grpc.AdminServiceServicer,), methods)
        servicer: admin_pb2_grpc.AdminServiceServicer = kind()
        return servicer

    def _unary(self, name: str, output: str) -> Callable[..., Any]:
        async def method(_: object, request: Message, context: grpc.aio.ServicerContext[Any, Any]) -> Message:
            answers = await self._answers(name, output, request, context)
            return answers[0]

        return method

    def _stream(self, name: str, output: str) -> Callable[..., Any]:
        async def method(
            _: object, request: Message, context: grpc.aio.ServicerContext[Any, Any]
        ) -> AsyncIterator[Message]:
            for answer in await self._answers(name, output, request, context):
                yield answer

        return method

    async def _answers(
        self, name: str, output: str, request: Message, context: grpc.aio.ServicerContext[Any, Any]
    ) -> list[Message]:
        self.asked.append((name, request))
        self.metadata.append({str(key): value for key, value in context.invocation_metadata() or ()})
        answer = self.answers.get(name, getattr(admin_pb2, output)())
        if callable(answer):
            answer = answer(request)
        if isinstance(answer, tuple):
            await context.abort(*answer)
        return answer if isinstance(answer, list) else [answer]
