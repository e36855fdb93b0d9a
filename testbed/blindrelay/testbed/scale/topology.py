"""Two nodes, three bridges and a database, as real processes on loopback."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Final, Self

from blindrelay.testbed.configuration import official_providers, write_bridge_config
from blindrelay.testbed.errors import TestbedError
from blindrelay.testbed.ledger import PRICES
from blindrelay.testbed.ports import free_address
from blindrelay.testbed.postgresql import require_programs
from blindrelay.testbed.processes import PartProcess
from blindrelay.testbed.providers import provider_process
from blindrelay.testbed.readiness import listed_replicas, wait_until_ready
from blindrelay.testbed.scale.links import Links
from blindrelay.testbed.scale.node import DRAIN_SECONDS, Node
from blindrelay.testing.configuration import write_prices

NODES: Final = 2
BRIDGES: Final = 3


class ScaledTestbed:
    """Starts everything on entering the block, and stops it on leaving.

    The parts are "provider", "database", "bridge-1" to "bridge-3", and of each node "ledger-1", "control-1"
    and "envoy-1".

    Attributes:
        links: the network between any two of them. Those that Node has, and "receipts-bridge-1" to
            "receipts-bridge-3", on which one of the ledgers collects.

    Raises:
        UnavailableError: PostgreSQL is not installed.
        TestbedError: a part does not start.
    """

    __test__: ClassVar[bool] = False

    def __init__(self) -> None:
        require_programs()
        self._folder: Path | None = None
        self._database_folder: Path | None = None
        self._token = ""
        self._provider = provider_process("scripted", lambda: self.folder)
        self._database = PartProcess(
            "database", "blindrelay.testbed.postgresql", lambda: [str(self._database_folder)]
        )
        self._bridges = {f"bridge-{number}": self._bridge(number) for number in range(1, BRIDGES + 1)}
        self.links = Links()
        self._receipts = [
            self.links.add(f"receipts-{name}", partial(_listening, part))
            for name, part in self._bridges.items()
        ]
        self.nodes = [self._node(number) for number in range(1, NODES + 1)]

    @property
    def folder(self) -> Path:
        """Where the configuration files, keys and tokens are."""
        if self._folder is None:
            raise TestbedError("the testbed is not up")
        return self._folder

    @property
    def parts(self) -> dict[str, PartProcess]:
        """The processes by name, in the order of their start."""
        provider = {} if self._provider is None else {"provider": self._provider}
        nodes = {name: part for node in self.nodes for name, part in node.parts.items()}
        return {**provider, "database": self._database, **self._bridges, **nodes}

    @property
    def identity(self) -> str:
        """The bridges' identity, as a client pins it."""
        return next(iter(self._bridges.values())).announcement["identity"]

    @property
    def relays(self) -> list[str]:
        """A connection string for each node."""
        options = f"bridge={self.identity}&tls=off&history=off"
        return [f"blindrelay://{self._token}@{node.for_clients}?{options}" for node in self.nodes]

    @property
    def provider(self) -> str:
        """The base URL of the provider."""
        return f"http://{self.parts['provider'].listening}"

    def wait_until_ready(self) -> None:
        """Waits until each relay lists every bridge. Raises PartNotReadyError, PartDiedError."""
        wait_until_ready(self._is_ready, self.parts.values(), self._said)

    def up(self) -> None:
        """Starts everything and waits until exchanges can succeed."""
        self._folder = Path(tempfile.mkdtemp(prefix="blindrelay-scale-"))
        # Of its own: the server's user may not enter ours.
        self._database_folder = Path(tempfile.mkdtemp(prefix="blindrelay-books-"))
        try:
            self.links.open()
            for node in self.nodes:
                node.prepare()
            for part in self.parts.values():
                part.start()
                if part is self.nodes[0].ledger.part:
                    self._token = self.nodes[0].ledger.open_account("testbed")
            self.wait_until_ready()
        except BaseException:
            self._end(PartProcess.kill)
            raise

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(PartProcess.stop if kind is None else PartProcess.kill)

    def _end(self, how: Callable[[PartProcess], None]) -> None:
        for part in reversed(self.parts.values()):
            how(part)
        self.links.close()
        for folder in (self._folder, self._database_folder):
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)
        self._folder = self._database_folder = None

    def _is_ready(self) -> bool:
        return all(listed_replicas(node.listening, self._token) == BRIDGES for node in self.nodes)

    def _said(self) -> str:
        return "\n".join(f"{name}: {part.stderr}" for name, part in self.parts.items() if part.stderr)

    def _node(self, number: int) -> Node:
        return Node(
            number,
            lambda: self.folder / f"node-{number}",
            self.links,
            {name: partial(_listening, part) for name, part in self._bridges.items()},
            lambda: [link.address for link in self._receipts],
            lambda: self.identity,
            lambda: f"{self._database.listening}/.s.PGSQL.5432",
        )

    def _bridge(self, number: int) -> PartProcess:
        name = f"bridge-{number}"

        def arguments() -> list[str]:
            config = self.folder / f"{name}.toml"
            listen = part.announcement.get("listening") or free_address()
            billing = write_prices(self.folder, PRICES, name)
            options = {"drain_seconds": DRAIN_SECONDS}
            write_bridge_config(config, listen, official_providers(self.provider), options, billing)
            return ["serve", "--config", str(config), "--json"]

        part = PartProcess(name, "blindrelay.provider_bridge", arguments)
        return part


def _listening(part: PartProcess) -> str:
    return part.listening
