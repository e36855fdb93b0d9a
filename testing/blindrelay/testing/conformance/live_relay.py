"""A relay that can tamper, a bridge that can be restarted and a scripted provider, in a thread."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from anyio.from_thread import BlockingPortal, start_blocking_portal

from blindrelay.provider_bridge import AuditLog, Bridge, load_or_make_identity, presets, read_bridge_config
from blindrelay.relay_node import Relay, read_relay_config
from blindrelay.serving import Address, issue_token
from blindrelay.testing.configuration import MappedProvider, write_bridge_config, write_relay_config
from blindrelay.testing.conformance.tampering import Tampering
from blindrelay.testing.ready_log import ReadyLog
from blindrelay.testing.relay_view import RelayView
from blindrelay.testing.scripted_provider import ScriptedProvider
from blindrelay.testing.tapped_channel import tapped
from blindrelay.trust import IdentityKey, format_identity

_READY_SECONDS: Final = 60.0
_ANY_PORT: Final = "127.0.0.1:0"


class LiveRelay:
    """What a program under test is given to use. It runs within a `with` block.

    Attributes:
        provider: answers for OpenAI, and knows what was asked.
        view: what the relay passed on.
        tampering: what the relay does to responses.
        connection: the connection string.
        foreign_connection: another, which pins an identity that nobody here has.
    """

    def __init__(self) -> None:
        self.provider = ScriptedProvider()
        self.view = RelayView()
        self.tampering = Tampering()
        self.connection = self.foreign_connection = ""
        self._running = ExitStack()
        self._portal: BlockingPortal | None = None
        self._bridge: _BridgeProcess | None = None

    def __enter__(self) -> Self:
        with ExitStack() as starting:
            self._portal = starting.enter_context(start_blocking_portal())
            starting.enter_context(self._portal.wrap_async_context_manager(self._serving()))
            self._running = starting.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.close()

    def restart_bridge(self) -> None:
        """Ends the bridge, with its keys, and starts another on its port."""
        if self._portal is None or self._bridge is None:
            raise RuntimeError("the relay is not running")
        self._portal.call(self._bridge.restart)

    @asynccontextmanager
    async def _serving(self) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="blindrelay-")))
            target = await stack.enter_async_context(self.provider.running())
            self._bridge = _BridgeProcess(folder, target)
            stack.push_async_callback(self._bridge.stop)
            bridge = await self._bridge.start()
            token = issue_token(folder / "tokens", "conformance", datetime.now(UTC))
            write_relay_config(folder / "relay.toml", _ANY_PORT, [str(bridge)], {})
            channels, ready = self.tampering.opening(tapped(self.view.observe)), ReadyLog()
            relay = Relay(read_relay_config(folder / "relay.toml"), ready, channels)
            address = await stack.enter_async_context(relay.running())
            async with asyncio.timeout(_READY_SECONDS):
                await ready.reached_bridge.wait()
            identity = load_or_make_identity(folder / "identity.key").public_key
            self.connection = _connection(token, address, identity)
            self.foreign_connection = _connection(token, address, IdentityKey.generate().public_key)
            yield


def _connection(token: str, relay: Address, identity: bytes) -> str:
    return f"blindrelay://{token}@{relay}?bridge={format_identity(identity)}&tls=off"


class _BridgeProcess:
    """A bridge that runs in a task of its own. After a stop, another one may start on its port."""

    def __init__(self, folder: Path, target: str) -> None:
        self._folder = folder
        self._target = target
        self._listen = _ANY_PORT
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> Address:
        """Returns where it listens, once it does."""
        started: asyncio.Future[Address] = asyncio.get_running_loop().create_future()
        self._stopping.clear()
        self._task = asyncio.create_task(self._run(started))
        await asyncio.wait((started, self._task), return_when=asyncio.FIRST_COMPLETED)
        if self._task.done():
            self._task.result()
        address = started.result()
        self._listen = str(address)
        return address

    async def stop(self) -> None:
        """Waits for its end. What it runs is cut."""
        if self._task is not None:
            self._stopping.set()
            await self._task

    async def restart(self) -> None:
        """Stops it and starts another."""
        await self.stop()
        await self.start()

    async def _run(self, started: asyncio.Future[Address]) -> None:
        providers = [
            MappedProvider(name, str(preset.origin), self._target)
            for name, preset in presets().items()
            if preset.origin
        ]
        write_bridge_config(self._folder / "bridge.toml", self._listen, providers, {})
        identity = load_or_make_identity(self._folder / "identity.key")
        bridge = Bridge(read_bridge_config(self._folder / "bridge.toml"), identity, AuditLog(lambda _: None))
        async with bridge.running() as address:
            started.set_result(address)
            await self._stopping.wait()
