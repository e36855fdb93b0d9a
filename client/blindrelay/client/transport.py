"""The transport that httpx and httpx2 clients, and so the official SDKs, send through."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from blindrelay.client.bill import EXTENSION
from blindrelay.client.bill_journal import open_journal
from blindrelay.client.body import async_body, sync_body
from blindrelay.client.connection_config import ConnectionConfig
from blindrelay.client.engine import release_before_fork, require_engine
from blindrelay.client.error_mapping import response_or_raise
from blindrelay.client.errors import BlindRelayError, ConfigurationError
from blindrelay.client.history_store import open_history
from blindrelay.client.httpx_compat import client_class, client_library, response
from blindrelay.client.key_ring import KeyRing
from blindrelay.client.portal import Portal
from blindrelay.client.relay_view import Observer
from blindrelay.client.response_headers import response_headers
from blindrelay.client.sealed_address import sealed_address, with_real_address
from blindrelay.client.sealed_stream import SealedStream
from blindrelay.client.sender import Sender
from blindrelay.client.store_false import stateless_body
from blindrelay.client.tunnel import SealedTunnel
from blindrelay.client.worlds import call_from_trio, in_trio, send_from_thread, send_from_trio
from blindrelay.sealing import TUNNEL_STATUS
from blindrelay.v1.inner_pb2 import ResponseHead

if TYPE_CHECKING:
    import httpx
    import httpx2

_TIMEOUT_SECONDS: Final = 600.0
"""The clients' default read timeout, as in the official SDKs. The default of httpx is 5 seconds."""
_CONNECT_SECONDS: Final = 5.0

_FORK_SECONDS: Final = 1.0
"""How long a fork waits for an idle connection to close, which takes milliseconds."""

_WAYS_PAST_US: Final = ("mounts", "proxy", "transport")
"""httpx options that would send requests in clear, not through this transport."""


class SealedTransport:
    """Seals every exchange to the pinned bridge and sends it through the relay, or fails.

    It is a transport for ``httpx.Client``, ``httpx.AsyncClient`` and their httpx2 counterparts. Any number of
    threads and of event loops, of asyncio or trio, may use it at once.

    httpx_client() and the methods like it make clients. Each client has a transport of its own, with the
    same keys, and closing the client closes that transport only.

    Args:
        connection: the relay to use and the bridge to trust: a ConnectionConfig or a connection string.
        clock: Unix seconds; for tests.
        observer: is called with what the relay can see of each exchange.
        keys: the verified keys, to share them with other transports.

    Raises:
        ConfigurationError: the connection string is wrong or pins no bridge, or the key history is damaged
            or open to others.
        ForkError: this process was forked while its parent had a gRPC connection in use.
        UnsupportedRuntimeError: gevent or eventlet has replaced this process's threads.
    """

    def __init__(
        self,
        connection: ConnectionConfig | str,
        *,
        clock: Callable[[], float] = time.time,
        observer: Observer | None = None,
        keys: KeyRing | None = None,
    ) -> None:
        require_engine()
        if isinstance(connection, str):
            connection = ConnectionConfig.from_string(connection)
        self.connection = connection
        ring, journal = keys or _key_ring(connection, clock), open_journal(connection)
        self._sender = Sender(connection, ring, clock, observer, journal)
        self._lazy_portal: Portal | None = None
        self._lock = threading.RLock()  # a signal handler may run in a thread that holds it
        release_before_fork(self, SealedTransport._release_idle_connections)

    @classmethod
    def from_env(cls) -> Self:
        """A transport as BLINDRELAY_CONNECTION or a profile says. Raises ConfigurationError."""
        return cls(ConnectionConfig.from_env())

    @property
    def proofs(self) -> list[tuple[bytes, bytes]]:
        """Pairs of encoded SignedKeyDirectory messages that contradict each other: proofs of a fork."""
        return self._sender.keys.proofs

    def base_url(self, provider: str) -> str:
        """A base URL that only this transport understands, for a framework that may not always use it.

        ``base_url("openai")`` is ``https://api.openai.com.blindrelay.invalid/v1``. DNS has no such name, so
        requests that the framework sends by itself fail. Those that it sends through this transport go to
        the provider.

        Args:
            provider: openai, anthropic, gemini, mistral, cohere, groq, openrouter, deepseek, xai, together,
                fireworks or cerebras, for the base URL that its SDK wants; models, for that of all models of
                the bridge; or any base URL.

        Raises:
            ConfigurationError: the name is not known, or the URL has no host's name.
        """
        return sealed_address(provider)

    def httpx_client(self, **options: Any) -> httpx.Client:
        """An ``httpx.Client``, which older SDKs take. Raises ImportError if httpx is not installed.

        It takes the options of ``httpx.Client``. By default it has the timeouts of the official SDKs, follows
        redirects and takes nothing from the environment. Raises ConfigurationError for `mounts`, `proxy` and
        `transport`, which would send requests past the relay.
        """
        client: httpx.Client = self._client("httpx", "Client", options)
        return client

    def async_httpx_client(self, **options: Any) -> httpx.AsyncClient:
        """An ``httpx.AsyncClient``, otherwise as httpx_client()."""
        client: httpx.AsyncClient = self._client("httpx", "AsyncClient", options)
        return client

    def httpx2_client(self, **options: Any) -> httpx2.Client:
        """An ``httpx2.Client``, which current official SDKs take, otherwise as httpx_client()."""
        client: httpx2.Client = self._client("httpx2", "Client", options)
        return client

    def async_httpx2_client(self, **options: Any) -> httpx2.AsyncClient:
        """An ``httpx2.AsyncClient``, otherwise as httpx_client()."""
        client: httpx2.AsyncClient = self._client("httpx2", "AsyncClient", options)
        return client

    def handle_request(self, request: Any) -> Any:
        """One synchronous exchange. httpx calls this."""
        real = with_real_address(request)
        perform = partial(self._sender.perform, real)
        try:
            portal, body = self._portal(), stateless_body(real, self.connection)
            if body is None:
                stream, head = send_from_thread(portal, perform, request.stream)
            else:
                stream, head = portal.call(perform(body))
        except BlindRelayError as error:
            return response_or_raise(error, request)
        return _response(request, stream, head, sync_body(request, stream, portal))

    async def handle_async_request(self, request: Any) -> Any:
        """One asynchronous exchange, in asyncio or trio. httpx calls this."""
        real = with_real_address(request)
        try:
            body = stateless_body(real, self.connection)
            if in_trio():
                return await self._handle_trio_request(request, real, body)
            stream, head = await self._sender.perform(real, request.stream if body is None else body)
        except BlindRelayError as error:
            return response_or_raise(error, request)
        return _response(request, stream, head, async_body(request, stream))

    async def _handle_trio_request(self, request: Any, real: Any, body: bytes | None) -> Any:
        perform, portal = partial(self._sender.perform, real), self._portal()
        in_portal = partial(call_from_trio, portal)
        if body is None:
            stream, head = await send_from_trio(portal, perform, request.stream)
        else:
            stream, head = await in_portal(perform(body))
        response_body = async_body(request, stream, in_portal, partial(in_portal, shield=True))
        return _response(request, stream, head, response_body)

    async def open_tunnel(self, request: Any) -> SealedTunnel | Any:
        """Opens a WebSocket to the provider. Returns the tunnel, or an ordinary response instead of one.

        `request` is an httpx or httpx2 request: GET, with the handshake's URL and headers. Errors are those
        of an exchange.
        """
        try:
            tunnel, head = await self._sender.open_tunnel(with_real_address(request))
        except BlindRelayError as error:
            return response_or_raise(error, request)
        if head.status == TUNNEL_STATUS:
            tunnel.headers = response_headers(head, request)
            return tunnel
        return _response(request, tunnel.stream, head, async_body(request, tunnel.stream))

    def close(self) -> None:
        """Ends the exchanges of synchronous callers. The transport can be used again afterwards."""
        with self._lock:
            portal, self._lazy_portal = self._lazy_portal, None
        if portal is not None:
            portal.call(self._sender.close())
            portal.close()

    async def aclose(self) -> None:
        """Ends the exchanges of this event loop. The transport can be used again afterwards."""
        if in_trio():
            import trio

            await trio.to_thread.run_sync(self.close)
        else:
            await self._sender.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<SealedTransport by {self.connection.target}>"

    def _portal(self) -> Portal:
        require_engine()
        with self._lock:
            if self._lazy_portal is None or not self._lazy_portal.is_of_this_process:
                self._lazy_portal = Portal()
            return self._lazy_portal

    def _release_idle_connections(self) -> bool:
        """Closes idle connections before a fork. Returns whether none is left."""
        portal = self._lazy_portal
        if portal is not None:
            with suppress(BlindRelayError, TimeoutError):
                portal.call(self._sender.close_if_idle(), _FORK_SECONDS)
        return not self._sender.is_connected()

    def _client(self, library_name: str, class_name: str, options: dict[str, Any]) -> Any:
        library = client_library(library_name)
        return client_class(library, class_name)(**self._client_options(library, options))

    def _client_options(self, library: Any, options: dict[str, Any]) -> dict[str, Any]:
        for name in _WAYS_PAST_US:
            if options.get(name) is not None:
                raise ConfigurationError(f"with {name} requests would leave in clear, past the relay")
        # Every client has its own transport, so that closing one does not close another's.
        sender = self._sender
        transport = SealedTransport(
            self.connection, clock=sender.clock, observer=sender.observer, keys=sender.keys
        )
        timeout = library.Timeout(_TIMEOUT_SECONDS, connect=_CONNECT_SECONDS)
        return (
            {"timeout": timeout, "follow_redirects": True, "trust_env": False}
            | options
            | {"transport": transport}
        )


def _response(request: Any, stream: SealedStream, head: ResponseHead, body: Any) -> Any:
    """A response that carries its bill, which is complete once the body has been read."""
    bill = {EXTENSION: stream.bill}
    return response(request, head.status, response_headers(head, request), body, **bill)


def _key_ring(connection: ConnectionConfig, clock: Callable[[], float]) -> KeyRing:
    return KeyRing(connection.identity, clock, open_history(connection))
