"""A whole BlindRelay on one machine: provider, bridges and relay as real processes on free loopback ports."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Final, Self

from blindrelay.testbed.configuration import official_providers, write_bridge_config
from blindrelay.testbed.errors import TestbedError
from blindrelay.testbed.ledger import Ledger
from blindrelay.testbed.ports import free_address
from blindrelay.testbed.processes import KEPT_LINES, PartProcess
from blindrelay.testbed.providers import LLAMA_KINDS, ProviderKind, provider_process
from blindrelay.testbed.readiness import listed_replicas, wait_until_ready
from blindrelay.testbed.tap import Forwarded, TapReader
from blindrelay.testbed.unprivileged import launcher
from blindrelay.testing.configuration import MappedProvider, Models, Option, write_relay_config

DRAIN_SECONDS: Final = 2
"""Seconds for running exchanges when a part is stopped."""

_TAP_FILE: Final = "forwarded.jsonl"


@dataclass(frozen=True)
class RelayStart:
    """How a testbed starts its relay, if not as an operator would.

    Attributes:
        module: another relay, with the same command line.
        arguments: what stands before its own.
        launcher: a command that runs another one in its own place.
        environment: more variables.
    """

    module: str = "blindrelay.relay_node"
    arguments: tuple[str, ...] = ()
    launcher: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


BY_ENVOY: Final = RelayStart("blindrelay.testbed.envoy_relay")
"""Envoy and its control process, as one part."""


class Testbed:
    """Provider, bridges and relay, started on entering the block and stopped on leaving it.

    The parts are named "provider", "ledger", "relay" and "bridge", or "bridge-1", "bridge-2", … of several.
    Official addresses (https://api.openai.com, https://api.anthropic.com) are answered by the local provider.

    Args:
        provider: "random" and "smollm2" are llama.cpp, with a model that talks nonsense or English;
            "scripted" says what it is told to; "openai" is the real one, with OPENAI_API_KEY.
        replicas: how many bridge processes stand behind the relay, under one identity.
        tap: how many first bytes of each forwarded message are kept; 0 is a relay without a tap.
        relay_options, bridge_options: more top-level keys of relay.toml and bridge.toml.
        providers: the bridges' [[provider]] entries, if not the official ones.
        models: what the bridges serve at one address, by public name.
        account: whose the access token is.
        kept_lines: how many lines of what each part writes to stderr are kept.
        relay_start: how the relay is started; not together with a tap.
        shared_cache: whether llama.cpp reuses the prompts of one client for all others.
        ledger: whether the bridges charge, and the relay asks a ledger, where `account` has units.

    Raises:
        TestbedError: a part does not start.
    """

    __test__: ClassVar[bool] = False

    def __init__(
        self,
        provider: ProviderKind = "random",
        *,
        replicas: int = 1,
        tap: int = 0,
        relay_options: Mapping[str, Option] | None = None,
        bridge_options: Mapping[str, Option] | None = None,
        providers: Sequence[MappedProvider] | None = None,
        models: Models | None = None,
        account: str = "testbed",
        kept_lines: int = KEPT_LINES,
        relay_start: RelayStart | None = None,
        shared_cache: bool = False,
        ledger: bool = False,
    ) -> None:
        self.provider_kind: ProviderKind = provider
        self._tap = tap
        self._relay_options = {"drain_seconds": DRAIN_SECONDS, **(relay_options or {})}
        self._bridge_options = {"drain_seconds": DRAIN_SECONDS, **(bridge_options or {})}
        self._providers = providers
        self._models = models
        self._account = account
        self._kept_lines = kept_lines
        self._relay_start = relay_start or RelayStart()
        self._shared_cache = shared_cache
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        names = ["bridge"] if replicas == 1 else [f"bridge-{number}" for number in range(1, replicas + 1)]
        self._bridges = {name: self._bridge(name) for name in names}
        self.ledger = self._new_ledger() if ledger else None
        self._relay = self._relay_process()
        self._provider = provider_process(provider, lambda: self.folder, shared_cache=shared_cache)
        self._token = ""

    @property
    def folder(self) -> Path:
        """Where the configuration files, keys and tokens are, until the testbed is stopped."""
        if self._folder is None:
            raise TestbedError("the testbed is not up")
        return Path(self._folder.name)

    @property
    def parts(self) -> dict[str, PartProcess]:
        """The processes by name, in the order of their start."""
        provider = {} if self._provider is None else {"provider": self._provider}
        ledger = {} if self.ledger is None else {"ledger": self.ledger.part}
        return {**provider, **self._bridges, **ledger, "relay": self._relay}

    @property
    def pids(self) -> dict[str, int]:
        """The process ids by part."""
        return {name: part.pid for name, part in self.parts.items()}

    @property
    def identity(self) -> str:
        """The bridges' identity, as a client pins it."""
        return next(iter(self._bridges.values())).announcement["identity"]

    @property
    def token(self) -> str:
        """The relay's access token that was issued for this testbed."""
        return self._token

    @property
    def relay(self) -> str:
        """The connection string for a client."""
        return self.connection(self._relay.listening)

    @property
    def direct(self) -> str:
        """A connection string that leads past the relay, to the first bridge."""
        return self.connection(next(iter(self._bridges.values())).listening)

    @property
    def provider(self) -> str:
        """The base URL of the local provider. Raises TestbedError if the real one is used."""
        if self._provider is None:
            raise TestbedError(f"{self.provider_kind} is not a local provider")
        return f"http://{self._provider.listening}"

    @property
    def forwarded(self) -> list[Forwarded]:
        """What the tap saw until now. Empty without a tap."""
        return self.follow_tap().new()

    def follow_tap(self) -> TapReader:
        """A reader of what the tap sees, from its beginning."""
        return TapReader(self.folder / _TAP_FILE)

    def connection(self, address: str) -> str:
        """A connection string for an address, with this testbed's token and pin, and no history kept."""
        return f"blindrelay://{self._token}@{address}?bridge={self.identity}&tls=off&history=off"

    def up(self) -> None:
        """Starts everything and waits until exchanges can succeed."""
        self._folder = tempfile.TemporaryDirectory(prefix="blindrelay-testbed-")
        try:
            for part in self.parts.values():
                if part is self._relay:
                    self._token = self._issued_token()
                part.start()
            self.wait_until_ready()
        except BaseException:
            self.down()
            raise

    @property
    def commands(self) -> dict[str, list[str]]:
        """The command lines by part that start it again, at the same address and with the same data."""
        return {name: part.command for name, part in self.parts.items() if name != "provider"}

    def down(self) -> None:
        """Stops everything, the relay first, and removes the folder."""
        self._end(PartProcess.stop)

    def start(self, part: str) -> None:
        """Starts a part that was stopped or killed, where it listened before; returns when it listens."""
        self.parts[part].start()

    def stop(self, part: str) -> None:
        """Stops a part as an operator would."""
        self.parts[part].stop()

    def kill(self, part: str) -> None:
        """Ends a part at once, as a crash would."""
        self.parts[part].kill()

    def restart(self, part: str) -> None:
        """Stops a part and starts it where it listened before; returns when it listens."""
        self.parts[part].restart()

    def wait_until_ready(self) -> None:
        """Waits until the relay lists every bridge. Raises PartNotReadyError, PartDiedError."""
        wait_until_ready(self._is_ready, self.parts.values(), lambda: self._relay.stderr)

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # After Ctrl-C nobody should wait for parts that drain.
        self._end(PartProcess.kill if kind is KeyboardInterrupt else PartProcess.stop)

    def _end(self, how: Callable[[PartProcess], None]) -> None:
        for part in reversed(self.parts.values()):
            how(part)
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _bridge(self, name: str) -> PartProcess:
        def arguments() -> list[str]:
            config = self.folder / f"{name}.toml"
            listen = part.announcement.get("listening") or free_address()
            providers = self._providers or self._mapped()
            billing = None if self.ledger is None else self.ledger.billing(name)
            write_bridge_config(config, listen, providers, self._bridge_options, billing, self._models)
            return ["serve", "--config", str(config), "--json"]

        part = PartProcess(name, "blindrelay.provider_bridge", arguments, kept_lines=self._kept_lines)
        return part

    def _new_ledger(self) -> Ledger:
        bridges = self._bridges.values()
        return Ledger(
            lambda: self.folder, lambda: [each.listening for each in bridges], lambda: self.identity
        )

    def _issued_token(self) -> str:
        """A token for the relay, from its ledger if it has one, which must be up."""
        if self.ledger is not None:
            return self.ledger.open_account(self._account)
        from blindrelay.serving import issue_token

        return issue_token(self.folder / "tokens", self._account, datetime.now(UTC))

    def _mapped(self) -> tuple[MappedProvider, ...]:
        kind, provider = self.provider_kind, self._provider
        if provider is None:
            return (MappedProvider(kind, "https://api.openai.com", credential_variable="OPENAI_API_KEY"),)
        apart = kind in LLAMA_KINDS and not self._shared_cache
        options = {"cache_controls": "refuse"} if apart else {}
        return official_providers(f"http://{provider.listening}", options)

    def _relay_process(self) -> PartProcess:
        start = self._relay_start

        def arguments() -> list[str]:
            config = self.folder / "relay.toml"
            listen = part.announcement.get("listening") or free_address()
            replicas = [bridge.listening for bridge in self._bridges.values()]
            ledger = None if self.ledger is None else self.ledger.relay_options()
            write_relay_config(config, listen, replicas, self._relay_options, self.identity, ledger)
            tap = [str(self.folder / _TAP_FILE), str(self._tap)] if self._tap else start.arguments
            return [*tap, "serve", "--config", str(config), "--json"]

        module = "blindrelay.testbed.tapped_relay" if self._tap else start.module
        wanted = start.launcher or (launcher() if self._relay_options.get("sandbox") else ())
        part = PartProcess("relay", module, arguments, start.environment, self._kept_lines, wanted)
        return part

    def _is_ready(self) -> bool:
        return listed_replicas(self._relay.listening, self._token) == len(self._bridges)
