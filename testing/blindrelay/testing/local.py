"""A relay, a bridge and a scripted provider in this process, on free loopback ports."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Final, Self

from anyio import CancelScope, to_thread
from anyio.from_thread import start_blocking_portal

from blindrelay import provider_bridge
from blindrelay.client import SealedTransport
from blindrelay.provider_bridge import Bridge, load_or_make_identity, presets, read_bridge_config
from blindrelay.relay_node import AuditLog, Relay, read_relay_config
from blindrelay.serving import Address, issue_token
from blindrelay.testing.configuration import (
    MappedProvider,
    Models,
    Option,
    Prices,
    write_bridge_config,
    write_prices,
    write_relay_config,
)
from blindrelay.testing.ready_log import ReadyLog
from blindrelay.testing.relay_view import RelayedExchange, RelayView
from blindrelay.testing.scripted_provider import ScriptedProvider
from blindrelay.testing.tapped_channel import tapped
from blindrelay.trust import format_identity

_READY_SECONDS: Final = 60.0
_ANY_PORT: Final = "127.0.0.1:0"


class LocalBlindRelay:
    """A whole BlindRelay for tests. It runs in a thread of its own, within a `with` or an `async with` block
    (asyncio and trio).

    The code is the product's: requests are sealed, forwarded and opened as in production, and the bridge
    refuses what it would refuse there. Every provider's official address is answered by `provider`.

    Args:
        origins: the addresses of presets that have none of their own, such as
            {"azure": "https://my-resource.openai.azure.com"}.
        provider_options: more keys of a preset's [[provider]] entry, such as {"vllm": {"cache_salt": "off"}}.
        bridge_options: more top-level keys of bridge.toml.
        relay_options: more top-level keys of relay.toml.
        models: what the bridge serves at https://models.blindrelay.internal, by public name, such as
            {"gpt-4o": "openai/gpt-4o-2024-11-20", "claude": ["anthropic/claude-opus-5", "openai/gpt-5.5"]}.
            Of several, the next one is tried if one fails before it has done anything.
        account: the name under which the relay knows the access token.
        prices: makes the bridge charge: units for a million, by measure ("input", "output", "call", …), of
            each "provider/model". A "*" at a model's end stands for anything.

    Raises:
        ConfigError: an option is wrong. The text names it.
        StartError: a server could not start.
    """

    __test__: ClassVar[bool] = False

    def __init__(
        self,
        *,
        origins: Mapping[str, str] | None = None,
        provider_options: Mapping[str, Mapping[str, Option]] | None = None,
        bridge_options: Mapping[str, Option] | None = None,
        relay_options: Mapping[str, Option] | None = None,
        models: Models | None = None,
        account: str = "test",
        prices: Prices | None = None,
    ) -> None:
        self.provider = ScriptedProvider()
        self._origins = {name: str(preset.origin) for name, preset in presets().items() if preset.origin}
        self._origins |= origins or {}
        self._provider_options = provider_options or {}
        self._bridge_options = bridge_options or {}
        self._relay_options = relay_options or {}
        self._models = models
        self._account = account
        self._prices = prices
        self._view = RelayView()
        self._changing = threading.Lock()
        self._running = ExitStack()
        self._connection_string = ""
        self._sealed: SealedTransport | None = None

    @property
    def connection_string(self) -> str:
        """What a program is given to use this relay, such as in BLINDRELAY_CONNECTION.

        Raises RuntimeError outside the block.
        """
        if not self._connection_string:
            raise RuntimeError("LocalBlindRelay is not running: use it in a `with` block")
        return self._connection_string

    @property
    def sealed(self) -> SealedTransport:
        """A transport to this relay. It is made at first use, and closed at the end of the block."""
        if self._sealed is None:
            self._sealed = self._running.enter_context(SealedTransport(self.connection_string))
        return self._sealed

    @property
    def relay_saw(self) -> list[RelayedExchange]:
        """What the relay passed on, one entry for each exchange, in order."""
        return self._view

    def __enter__(self) -> Self:
        with self._changing, ExitStack() as starting:
            portal = starting.enter_context(start_blocking_portal())
            self._connection_string = starting.enter_context(
                portal.wrap_async_context_manager(self._serving())
            )
            self._running = starting.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changing:
            self._connection_string, self._sealed = "", None
            self._running.close()

    async def __aenter__(self) -> Self:
        try:
            return await to_thread.run_sync(self.__enter__)
        except BaseException as error:
            # A task that asyncio cancels leaves here while the thread still starts the servers.
            await self.__aexit__(type(error), error, error.__traceback__)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with CancelScope(shield=True):
            await to_thread.run_sync(self.__exit__, kind, error, trace)

    @asynccontextmanager
    async def _serving(self) -> AsyncIterator[str]:
        """Runs the three servers; gives the connection string once an exchange can succeed."""
        async with AsyncExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="blindrelay-")))
            target = await stack.enter_async_context(self.provider.running())
            bridge = await stack.enter_async_context(self._bridge(folder, target).running())
            identity = format_identity(load_or_make_identity(folder / "identity.key").public_key)
            token = issue_token(folder / "tokens", self._account, datetime.now(UTC))
            ready = ReadyLog()
            relay = await stack.enter_async_context(self._relay(folder, bridge, ready).running())
            async with asyncio.timeout(_READY_SECONDS):
                await ready.reached_bridge.wait()
            yield f"blindrelay://{token}@{relay}?bridge={identity}&tls=off&history=off"

    def _bridge(self, folder: Path, target: str) -> Bridge:
        providers = [
            MappedProvider(name, origin, target, options=self._provider_options.get(name, {}))
            for name, origin in self._origins.items()
        ]
        file = folder / "bridge.toml"
        billing = None if self._prices is None else write_prices(folder, self._prices)
        write_bridge_config(file, _ANY_PORT, providers, self._bridge_options, billing, self._models)
        identity = load_or_make_identity(folder / "identity.key")
        silent = provider_bridge.AuditLog(lambda _: None)
        return Bridge(read_bridge_config(file), identity, silent)

    def _relay(self, folder: Path, bridge: Address, log: AuditLog) -> Relay:
        write_relay_config(folder / "relay.toml", _ANY_PORT, [str(bridge)], self._relay_options)
        return Relay(read_relay_config(folder / "relay.toml"), log, tapped(self._view.observe))
