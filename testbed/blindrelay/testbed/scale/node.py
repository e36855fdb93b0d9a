"""What runs on one machine of several: a ledger, a control process, and Envoy."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from blindrelay.testbed.errors import TestbedError
from blindrelay.testbed.ledger import Ledger
from blindrelay.testbed.ports import free_address
from blindrelay.testbed.processes import PartProcess
from blindrelay.testbed.scale.links import Links
from blindrelay.testing.configuration import write_relay_config

DRAIN_SECONDS: Final = 30
"""Seconds for running exchanges, when a part is stopped. It ends as soon as they have."""


class Node:
    """One of several nodes with the same bridges and the same database.

    Args:
        number: from 1 on; the names of its parts end with it.
        folder: returns the node's folder, once there is one.
        links: to which the node adds its own: "clients-relay-1", "relay-1-ledger-1", "ledger-1-database" and
            "relay-1-bridge-1" to "relay-1-bridge-3".
        bridges: what returns each bridge's address, by name.
        receipts: returns the addresses at which ledgers collect from the bridges.
        identity: returns what clients pin.
        database: returns the path of the database's socket.
    """

    def __init__(
        self,
        number: int,
        folder: Callable[[], Path],
        links: Links,
        bridges: Mapping[str, Callable[[], str]],
        receipts: Callable[[], Iterable[str]],
        identity: Callable[[], str],
        database: Callable[[], str],
    ) -> None:
        self._number = number
        self._folder = folder
        self._identity = identity
        self._listen = ""
        relay, ledger = f"relay-{number}", f"ledger-{number}"
        self._clients = links.add(f"clients-{relay}", lambda: self._listen)
        self._to_bridges = [links.add(f"{relay}-{name}", address) for name, address in bridges.items()]
        self._to_ledger = links.add(f"{relay}-{ledger}", lambda: self.ledger.part.listening)
        books = links.add(f"{ledger}-database", database)
        url = lambda: f"postgresql://books@{books.address}/postgres"  # noqa: E731
        self.ledger = Ledger(folder, receipts, identity, name=ledger, database=url)
        self.control = PartProcess(f"control-{number}", "blindrelay.relay_node", self._control)
        self.envoy = self._new_envoy()

    @property
    def parts(self) -> dict[str, PartProcess]:
        """By name, in the order of their start."""
        return {part.name: part for part in (self.ledger.part, self.control, self.envoy)}

    @property
    def listening(self) -> str:
        """Where Envoy listens."""
        return self._listen

    @property
    def for_clients(self) -> str:
        """The address that clients have."""
        return self._clients.address

    def prepare(self) -> None:
        """Makes what must be there before the parts start."""
        self._folder().mkdir()
        self._listen = free_address()

    def replace_envoy(self) -> None:
        """Starts another Envoy on the same port, then stops the earlier one, whose exchanges finish."""
        earlier, self.envoy = self.envoy, self._new_envoy()
        try:
            self.envoy.start()
        finally:
            earlier.stop()

    def ledger_says(self, *command: str) -> dict[str, Any]:
        """What a command of the ledger prints. Raises TestbedError."""
        arguments = ("-m", "blindrelay.ledger", *command, "--config", str(self.ledger.config), "--json")
        done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
        if not done.stdout:
            raise TestbedError(f"blindrelay-ledger {command[0]} failed: {done.stderr.strip()}")
        said: dict[str, Any] = json.loads(done.stdout)
        return said

    def _new_envoy(self) -> PartProcess:
        def arguments() -> list[str]:
            return [str(self._folder() / "envoy" / "envoy.yaml"), self._listen]

        return PartProcess(f"envoy-{self._number}", "blindrelay.testbed.envoy", arguments)

    def _control(self) -> list[str]:
        config = self._folder() / "relay.toml"
        options = {"drain_seconds": DRAIN_SECONDS}
        ledger = self.ledger.relay_options(self._to_ledger.address)
        bridges = [link.address for link in self._to_bridges]
        write_relay_config(config, self._listen, bridges, options, self._identity(), ledger)
        return ["envoy", "--config", str(config), "--json"]
