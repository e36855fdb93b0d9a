"""The control process: a relay on a Unix socket, behind an Envoy that it configures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc

from blindrelay.relay_node.audit_log import AuditLog
from blindrelay.relay_node.config import EnvoyConfig, RelayConfig
from blindrelay.relay_node.envoy.bootstrap import bootstrap
from blindrelay.relay_node.envoy.data_plane import DataPlane
from blindrelay.relay_node.envoy.discovery import by_name
from blindrelay.relay_node.envoy.folder import EnvoyFolder
from blindrelay.relay_node.envoy.gates import EnvoyGate, envoy_gate
from blindrelay.relay_node.envoy.secrets import secrets
from blindrelay.relay_node.gate import Gate
from blindrelay.relay_node.relay import Relay
from blindrelay.serving import Address, ConfigError, StartError
from blindrelay.serving.listener import bound


class ControlProcess(Relay):
    """Serves what Envoy passes on to it, and keeps Envoy's files up to date.

    Create it in a running event loop. Raises ConfigError for unusable files and folders.
    """

    def __init__(self, config: RelayConfig, file: Path, audit_log: AuditLog | None = None) -> None:
        """`file` is relay.toml; Envoy's folder is beside it unless the [envoy] section names another."""
        if config.sandbox:
            raise ConfigError("sandbox = true: the control process of Envoy has no sandbox yet; leave it out")
        if config.listen.port == 0:
            raise ConfigError("listen has port 0: Envoy needs a port of your choice")
        if any(replica.proxy is not None for replica in config.replicas):
            raise ConfigError("[[replica]] proxy: Envoy connects to bridges directly; leave it out")
        envoy = envoy_config(config, file)
        self._folder = EnvoyFolder(envoy.folder)
        self._folder.write_bootstrap(bootstrap(config, envoy, self._folder))
        for name, secret in secrets(config.tls, by_name(config.replicas)).items():
            self._folder.publish(name, list, [secret])
        super().__init__(config, audit_log)
        self._data_plane = DataPlane(
            self._folder, self._replicas, self._envoy_gate, self._audit_log, config.max_exchanges
        )

    @property
    def bootstrap(self) -> Path:
        """The configuration file for Envoy."""
        return self._folder.bootstrap

    @property
    def bridges_known(self) -> bool:
        """Whether Envoy knows a key of every bridge that is up."""
        return self._data_plane.bridges_known

    def _make_gate(self) -> Gate:
        self._envoy_gate: EnvoyGate = envoy_gate(self._config, self._admission, self._audit_log)
        return self._envoy_gate

    @asynccontextmanager
    async def _server(self, *, share_port: bool = False) -> AsyncIterator[tuple[grpc.aio.Server, Address]]:
        async with super()._server(share_port=share_port) as served:
            with self._data_plane.connected():
                publishing = asyncio.create_task(self._data_plane.run())
                try:
                    yield served
                finally:
                    publishing.cancel()

    def _listen(self, server: grpc.aio.Server, *, share_port: bool) -> Address:
        """Listens on the socket. The address that it returns is that of Envoy."""
        self._warn_of_plaintext()
        self._check_port()
        try:
            server.add_insecure_port(f"unix:{self._folder.control}")
        except RuntimeError:
            raise StartError(f"cannot listen on {self._folder.control}") from None
        return self._config.listen

    async def _drain(self) -> None:
        await super()._drain()
        await self._data_plane.withdraw()

    def _check_port(self) -> None:
        """Raises StartError if another program than Envoy listens on Envoy's port.

        Envoy itself would not notice one that shares its ports, such as a relay with workers.
        """
        if not self._folder.envoy_runs:
            bound(self._config.listen).close()


def envoy_config(config: RelayConfig, file: Path) -> EnvoyConfig:
    """The [envoy] section of relay.toml, which is `file`, or what stands for it."""
    return config.envoy or EnvoyConfig(file.resolve().parent / "envoy")


async def serve_behind_envoy(
    config: RelayConfig, file: Path, on_ready: Callable[[Address, Path], None]
) -> None:
    """Serves until SIGTERM or SIGINT. Calls `on_ready` with Envoy's address and its configuration."""
    process = ControlProcess(config, file)
    await process.serve(lambda address: on_ready(address, process.bootstrap))
