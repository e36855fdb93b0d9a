"""TLS from the client to the relay, mutual TLS from the relay to the bridge, between real processes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import pytest
import trustme

from blindrelay.client import RelayError, SealedTransport, UnreachableError
from blindrelay.serving import issue_token
from blindrelay.serving.landlock import landlock_version
from blindrelay.testbed.processes import PartProcess
from blindrelay.testbed.unprivileged import launcher
from tests.certificates import Certificates
from tests.patience import wait_for

URL = "https://api.openai.com/v1/chat/completions"

BRIDGE = """
listen = "127.0.0.1:0"
identity_key = "identity.key"
drain_seconds = 1
[tls]
certificate = "bridge/chain.pem"
key = "bridge/key.pem"
client_ca = "bridge/ca.pem"
[[provider]]
name = "openai"
preset = "openai"
target = "http://{provider}"
"""

RELAY = """
listen = "127.0.0.1:0"
tokens = "tokens"
drain_seconds = 1
sandbox = {sandbox}
[tls]
certificate = "relay/chain.pem"
key = "relay/key.pem"
[[replica]]
address = "{bridge}"
[replica.tls]
ca = "bridge/ca.pem"
"""

SANDBOX = str(landlock_version() > 0).lower()
"""If the kernel supports it. The relay then reads new files in the sandbox."""

CERTIFIED = 'certificate = "client/chain.pem"\nkey = "client/key.pem"\n'


class Parts:
    """Provider, bridge and relays, in one folder with all certificates."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.stack = stack
        self.relays = Certificates(folder / "relay")
        self.bridges = Certificates(folder / "bridge")
        self.clients = Certificates(folder / "client", self.bridges.authority)
        self.token = issue_token(folder / "tokens", "client", datetime.now(UTC))
        self.provider = self.start("provider", "blindrelay.testbed.scripted_provider")
        config = BRIDGE.format(provider=self.provider.listening)
        self.bridge = self.start("bridge", "blindrelay.provider_bridge", config)

    def relay(self, more: str = CERTIFIED) -> PartProcess:
        """A relay in front of the bridge; `more` belongs to its [replica.tls]."""
        config = RELAY.format(bridge=self.bridge.listening, sandbox=SANDBOX) + more
        return self.start("relay", "blindrelay.relay_node", config)

    def start(self, name: str, module: str, config: str = "") -> PartProcess:
        file = self.folder / f"{name}.toml"
        file.write_text(config)
        arguments = ["serve", "--config", str(file), "--json"] if config else []
        part = PartProcess(name, module, lambda: arguments, launcher=launcher())
        part.start()
        self.stack.callback(part.stop)
        return part

    def client(self, relay: PartProcess, options: str = "&ca={ca}") -> httpx2.Client:
        """A client of the relay."""
        bridge = self.bridge.announcement["identity"]
        more = options.format(ca=self.relays.ca)
        transport = SealedTransport(f"blindrelay://{self.token}@{relay.listening}?bridge={bridge}{more}")
        client = self.stack.enter_context(transport.httpx2_client())
        self.stack.callback(transport.close)
        return client

    def events_of(self, relay: PartProcess) -> list[str]:
        """What it has logged, until it was stopped."""
        relay.stop()
        return [json.loads(line)["event"] for line in relay.stderr.splitlines()]


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    with ExitStack() as stack:
        yield Parts(tmp_path, stack)


def ask(client: httpx2.Client) -> httpx2.Response:
    return client.post(URL, json={"model": "m", "messages": []})


def of_another_ca(parts: Parts) -> str:
    parts.clients.issue("stranger", trustme.CA())
    return CERTIFIED


@pytest.mark.parametrize("more", [lambda _: "", of_another_ca], ids=["no_certificate", "of_another_ca"])
def test_relay_without_a_known_certificate_is_refused(parts: Parts, more: Callable[[Parts], str]) -> None:
    relay = parts.relay(more(parts))
    with pytest.raises(RelayError, match="could not reach the bridge"):
        ask(parts.client(relay))
    wait_for(lambda: "replica_down" in relay.stderr)
    assert "replica_up" not in parts.events_of(relay)


def test_relay_does_not_use_a_bridge_of_another_ca(parts: Parts) -> None:
    trustme.CA().cert_pem.write_to_path(parts.bridges.ca)
    with pytest.raises(RelayError, match="could not reach the bridge"):
        ask(parts.client(parts.relay()))


@pytest.mark.parametrize(("options", "words"), [("&tls=off", "does it want TLS"), ("", "no connection")])
def test_client_needs_tls_and_the_relays_ca(parts: Parts, options: str, words: str) -> None:
    with pytest.raises(UnreachableError, match=words):
        ask(parts.client(parts.relay(), options))


def test_relay_reloads_its_certificates(parts: Parts) -> None:
    relay = parts.relay()
    settled = parts.client(relay)
    assert ask(settled).status_code == 200
    parts.relays.chain.write_text("half a certif")
    assert ask(parts.client(relay)).status_code == 200, "the certificate before serves on"
    Certificates(parts.folder / "relay")
    assert ask(parts.client(relay)).status_code == 200, "it trusts the new CA alone"
    assert ask(settled).status_code == 200
    assert parts.events_of(relay).count("certificates_unusable") == 1
