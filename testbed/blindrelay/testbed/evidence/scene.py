"""Everybody in an evidence run, as processes: applications, our parts, a reading relay, the provider."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO, Any, Final, Self

import httpx

from blindrelay.client.portal import Portal
from blindrelay.testbed.evidence.capture import Capture, Flow
from blindrelay.testbed.evidence.network import Doorway
from blindrelay.testbed.evidence.plan import Request
from blindrelay.testbed.processes import PartProcess
from blindrelay.testbed.topology import Testbed

MAX_REQUEST: Final = 262_144
"""Bytes that the bridge takes, so that one exchange can be over the limit without being large."""


@dataclass(frozen=True)
class Asker:
    """What only client and relay should know, each a word that nobody else says."""

    account: str
    software: str
    time_zone: str
    locale: str

    @property
    def environment(self) -> dict[str, str]:
        return {"TZ": self.time_zone, "LANG": self.locale, "LC_ALL": "C.UTF-8"}

    @property
    def headers(self) -> dict[str, str]:
        return {
            "user-agent": f"OpenAI/Python {self.software}",
            "x-stainless-package-version": self.software,
            "x-stainless-runtime": self.software,
            "accept-language": self.locale,
        }


class Application:
    """A driver process, and whom it speaks to."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "blindrelay.testbed.evidence.driver"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **asker.environment},
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def tell(self, to: str, requests: Sequence[Request]) -> None:
        """Has it send requests; answered() waits for their ends."""
        headed = [{**each, "headers": self._asker.headers | each["headers"]} for each in requests]
        self._write({"to": to, "requests": headed})

    def release(self) -> None:
        """Has it read what it holds to the end."""
        self._write({})

    def answered(self) -> dict[str, Any]:
        """What it says when it is done."""
        output: IO[str] | None = self._process.stdout
        line = output.readline() if output is not None else ""
        if not line:
            raise RuntimeError("the application of the evidence run has died")
        said: dict[str, Any] = json.loads(line)
        return said

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _write(self, order: dict[str, Any]) -> None:
        if self._process.stdin is None:
            raise RuntimeError("the application of the evidence run has died")
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()


class Scene:
    """Everybody, started on entering the block.

    Attributes:
        holding, working: applications before our relay; reading: the one before the relay that reads.
    """

    def __init__(self, asker: Asker) -> None:
        self.asker = asker
        self.capture = Capture()
        self.bed = Testbed(
            "scripted",
            account=asker.account,
            kept_lines=100_000,
            bridge_options={"max_request_bytes": MAX_REQUEST},
            relay_options={"sandbox": True},
        )
        self.plain_relay = PartProcess(
            "plain relay", "blindrelay.testbed.evidence.plain_relay", lambda: [self.bed.provider]
        )
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.enter_context(self.bed)
        self.plain_relay.start()
        self._stack.callback(self.plain_relay.stop)
        portal = Portal()
        self._stack.callback(portal.close)
        self.door = portal.call(Doorway(self.bed.parts["relay"].listening).open())
        self.sealed = self.bed.connection(f"127.0.0.1:{self.door}") + "&credentials=brought"
        self.in_clear = f"http://{self.plain_relay.listening}"
        self.holding, self.working, self.reading = (self._application() for _ in range(3))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def release(self, gate: str) -> None:
        """Lets the provider end the answers that wait at a gate."""
        httpx.post(f"{self.bed.provider}/scripted/release", json={"gate": gate}, trust_env=False)

    @property
    def pids(self) -> dict[str, list[int]]:
        """By the party's name."""
        return {
            "client": [self.holding.pid, self.working.pid],
            "relay": [self.bed.pids["relay"]],
            "plain relay": [self.plain_relay.pid],
            "bridge": [self.bed.pids["bridge"]],
        }

    def hops(self) -> dict[str, dict[Flow, bytes]]:
        """What crossed the network until now, by between whom."""
        relay = _port(self.bed.parts["relay"].listening)
        bridge, provider = _port(self.bed.parts["bridge"].listening), _port(self.bed.provider)
        plain = _port(self.plain_relay.listening)
        flows = self.capture.flows
        bridges_own = _ports_towards(flows, provider)
        hops: dict[str, dict[Flow, bytes]] = {
            name: {}
            for name in (
                "client to relay",
                "relay to bridge",
                "bridge to provider",
                "client to plain relay",
                "plain relay to provider",
            )
        }
        for flow, data in flows.items():
            if flow.ports & {relay, self.door}:
                hops["client to relay"][flow] = data
            elif bridge in flow.ports:
                hops["relay to bridge"][flow] = data
            elif plain in flow.ports:
                hops["client to plain relay"][flow] = data
            elif provider in flow.ports:
                hops["bridge to provider" if flow.ports & bridges_own else "plain relay to provider"][
                    flow
                ] = data
        return hops

    def _application(self) -> Application:
        application = Application(self.asker)
        self._stack.callback(application.close)
        return application


def _ports_towards(flows: dict[Flow, bytes], provider: int) -> set[int]:
    """The ports from which the bridge speaks to the provider: its requests say "blindrelay"."""
    return {
        flow.source_port
        for flow, data in flows.items()
        if flow.target_port == provider and b"user-agent: blindrelay" in data
    }


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])
