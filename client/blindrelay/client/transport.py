"""The transport that httpx and httpx2 clients, and so the official SDKs, send through."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from blindrelay.client.body import async_body, sync_body
from blindrelay.client.connection_config import ConnectionConfig
from blindrelay.client.engine import release_before_fork, require_engine
from blindrelay.client.error_mapping import response_or_raise
from blindrelay.client.errors import BlindRelayError, ConfigurationError
from blindrelay.client.history_store import open_history
from blindrelay.client.httpx_compat import Request, client_class, client_library, response
from blindrelay.client.key_ring import KeyRing
from blindrelay.client.portal import Portal
from blindrelay.client.relay_view import Observer
from blindrelay.client.sealed_address import sealed_address, with_real_address, with_sealed_addresses
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
"""The clients' default: what the official SDKs wait for the next bytes. httpx's own is 5 seconds."""
_CONNECT_SECONDS: Final = 5.0

_FORK_SECONDS: Final = 1.0
"""How long a fork waits for an idle connection to close; closing one takes milliseconds."""

_OURS: Final = b"x-blindrelay-"

_WAYS_PAST_US: Final = ("mounts", "proxy", "transport")
"""Options by which httpx sends requests some other way than through our transport: in clear."""


class SealedTransport:
    """Seals every exchange to the pinned bridge and sends it through the relay; or fails.

    It is a transport for ``httpx.Client``, ``httpx.AsyncClient`` and their httpx2 twins, any number of
    threads and event loops, asyncio's or trio's. httpx_client() and its like make clients that are ready;
    each has a transport of its own, on the same keys, which ends with it and not with this one.

    Args:
        connection: where the relay is and whose key to trust: a ConnectionConfig or a connection string.
        clock: Unix seconds; for tests.
        observer: is told what the relay can see of each exchange.

    Raises:
        ConfigurationError: the connection string is wrong, or pins no bridge; or the file with what was seen
            of the bridge's keys is damaged or open to others.
        ForkError: this process was forked while its parent had a gRPC connection in use.
        UnsupportedRuntimeError: gevent or eventlet has replaced this process's threads.
    """

    def __init__(
        self,
        connection: ConnectionConfig | str,
        *,
        clock: Callable[[], float] = time.time,
        observer: Observer | None = None,
        _keys: KeyRing | None = None,
    ) -> None:
        require_engine()
        if isinstance(connection, str):
            connection = ConnectionConfig.from_string(connection)
        self.connection = connection
        self._sender = Sender(connection, _keys or _key_ring(connection, clock), clock, observer)
        self._lazy_portal: Portal | None = None
        self._lock = threading.RLock()  # a signal handler may send while its thread is in here
        release_before_fork(self._release_idle_connections)

    @classmethod
    def from_env(cls) -> Self:
        """As BLINDRELAY_CONNECTION, or the chosen profile, says. Raises ConfigurationError."""
        return cls(ConnectionConfig.from_env())

    @property
    def proofs(self) -> list[tuple[bytes, bytes]]:
        """Pairs of encoded SignedKeyDirectory messages that contradict each other: proof of a fork."""
        return self._sender.keys.proofs

    def base_url(self, provider: str) -> str:
        """A base URL that only this transport understands, for a framework that may send past it.

        ``base_url("openai")`` is ``https://api.openai.com.blindrelay.invalid/v1``. DNS has no such name:
        what a framework sends by itself fails, and what it gives to this transport goes to the provider.

        Args:
            provider: openai, anthropic, gemini, mistral, cohere, groq, openrouter, deepseek, xai, together or
                fireworks, for the base URL that its SDK wants; or any provider's base URL.

        Raises:
            ConfigurationError: the name is not known, or the URL has no host's name.
        """
        return sealed_address(provider)

    def httpx_client(self, **options: Any) -> httpx.Client:
        """An ``httpx.Client``. Raises ImportError if httpx is not installed.

        Older SDKs want this one. They refuse httpx2's with a TypeError.

        Options are its own, but with timeouts as the official SDKs have them, redirects followed, and nothing
        taken from the environment. Raises ConfigurationError for those that lead past the relay: mounts,
        proxy and transport.
        """
        client: httpx.Client = self._client("httpx", "Client", options)
        return client

    def async_httpx_client(self, **options: Any) -> httpx.AsyncClient:
        """An ``httpx.AsyncClient``, as above."""
        client: httpx.AsyncClient = self._client("httpx", "AsyncClient", options)
        return client

    def httpx2_client(self, **options: Any) -> httpx2.Client:
        """An ``httpx2.Client``, which current official SDKs want. ImportError if it is not installed."""
        client: httpx2.Client = self._client("httpx2", "Client", options)
        return client

    def async_httpx2_client(self, **options: Any) -> httpx2.AsyncClient:
        """An ``httpx2.AsyncClient``, as above."""
        client: httpx2.AsyncClient = self._client("httpx2", "AsyncClient", options)
        return client

    def handle_request(self, request: Any) -> Any:
        """One synchronous exchange; httpx calls this."""
        real = with_real_address(request)
        perform = partial(self._sender.perform, real)
        try:
            portal, content = self._portal(), stateless_body(real, self.connection)
            if content is None:
                exchange, head = send_from_thread(portal, perform, request.stream)
            else:
                exchange, head = portal.call(perform(content))
        except BlindRelayError as error:
            return response_or_raise(error, request)
        return response(request, head.status, _raw(head, request), sync_body(request, exchange, portal))

    async def handle_async_request(self, request: Any) -> Any:
        """One asynchronous exchange, in asyncio or trio; httpx calls this."""
        real = with_real_address(request)
        try:
            content = stateless_body(real, self.connection)
            if in_trio():
                return await self._handle_trio_request(request, real, content)
            exchange, head = await self._sender.perform(real, request.stream if content is None else content)
        except BlindRelayError as error:
            return response_or_raise(error, request)
        return response(request, head.status, _raw(head, request), async_body(request, exchange))

    async def _handle_trio_request(self, request: Any, real: Any, content: bytes | None) -> Any:
        perform, portal = partial(self._sender.perform, real), self._portal()
        in_portal = partial(call_from_trio, portal)
        if content is None:
            exchange, head = await send_from_trio(portal, perform, request.stream)
        else:
            exchange, head = await in_portal(perform(content))
        body = async_body(request, exchange, in_portal, partial(in_portal, shield=True))
        return response(request, head.status, _raw(head, request), body)

    async def open_tunnel(self, request: Any) -> SealedTunnel | Any:
        """Opens a WebSocket to the provider: the tunnel, or the response that came in its place.

        `request` is httpx's or httpx2's: GET, with the handshake's URL and headers. Errors are as an
        exchange's are.
        """
        try:
            tunnel, head = await self._sender.open_tunnel(with_real_address(request))
        except BlindRelayError as error:
            return response_or_raise(error, request)
        if head.status == TUNNEL_STATUS:
            tunnel.headers = _raw(head, request)
            return tunnel
        return response(request, head.status, _raw(head, request), async_body(request, tunnel))

    def close(self) -> None:
        """Ends what synchronous callers still run. The transport may be used again."""
        with self._lock:
            portal, self._lazy_portal = self._lazy_portal, None
        if portal is not None:
            portal.call(self._sender.close())
            portal.close()

    async def aclose(self) -> None:
        """Ends what runs in this event loop. The transport may be used again."""
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
        """Before a fork: closes what can be closed without harm; whether nothing is left."""
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
        # Every client has a transport of its own, so that closing one does not close another's.
        sender = self._sender
        transport = SealedTransport(
            self.connection, clock=sender.clock, observer=sender.observer, _keys=sender.keys
        )
        timeout = library.Timeout(_TIMEOUT_SECONDS, connect=_CONNECT_SECONDS)
        return (
            {"timeout": timeout, "follow_redirects": True, "trust_env": False}
            | options
            | {"transport": transport}
        )


def _raw(head: ResponseHead, request: Request) -> list[tuple[bytes, bytes]]:
    """The provider's headers, but for marks that are ours to set."""
    headers = [(each.name, each.value) for each in head.headers if not each.name.lower().startswith(_OURS)]
    return with_sealed_addresses(headers, request)


def _key_ring(connection: ConnectionConfig, clock: Callable[[], float]) -> KeyRing:
    return KeyRing(connection.identity, clock, open_history(connection))
