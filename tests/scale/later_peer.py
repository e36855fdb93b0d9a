"""A peer of a later version: a gRPC proxy that adds a field and a header that nobody knows to what passes."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc

LATER = bytes.fromhex("fa7f056c61746572")
"""Field 2,047 of a message, which holds "later"."""

HEADER = ("blindrelay-later", "later")
THREADS = 40
_FOR_EVER = 10**6
"""Seconds. gRPC tells of more where a call has no deadline."""

_OPTIONS = (("grpc.http2.max_ping_strikes", 0), ("grpc.http2.min_ping_interval_without_data_ms", 1_000))


class LaterPeer(grpc.GenericRpcHandler):
    """Passes every call on to the peer at `target`.

    Attributes:
        address: where it listens, while it is entered.
        passed: how many messages it has changed.
    """

    def __init__(self, target: str) -> None:
        self.passed = 0
        self.address = ""
        self._channel = grpc.insecure_channel(target)

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Serves while the block runs. Yields its address."""
        server = grpc.server(ThreadPoolExecutor(THREADS), handlers=[self], options=_OPTIONS)
        address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        try:
            yield address
        finally:
            server.stop(0).wait()
            self._channel.close()

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        """One way for all methods: messages both ways."""

        def call(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
            return self._pass(details.method, requests, context)

        return grpc.stream_stream_rpc_method_handler(call)

    def _pass(self, method: str, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        kept = [(key, value) for key, value in context.invocation_metadata() if key != "user-agent"]
        left = context.time_remaining()
        ask: Any = self._channel.stream_stream(method)
        onward = ask(
            map(self._later, requests),
            metadata=(*kept, HEADER),
            timeout=left if left and left < _FOR_EVER else None,
        )
        context.add_callback(onward.cancel)
        context.send_initial_metadata((HEADER,))
        try:
            yield from map(self._later, onward)
        except grpc.RpcError:
            context.set_trailing_metadata((*onward.trailing_metadata(), HEADER))
            context.abort(onward.code(), onward.details())

    def _later(self, message: bytes) -> bytes:
        self.passed += 1
        return message + LATER
