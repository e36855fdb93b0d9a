"""TLS from the client to the relay, mutual TLS from the relay to the bridge, between real processes.

The same holds when Envoy carries the bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import pytest
import trustme

from blindrelay.client import RelayError, SealedTransport, UnreachableError
from blindrelay.serving import issue_token
from blindrelay.serving.landlock import landlock_version
from blindrelay.testbed.ports import free_address
from blindrelay.testbed.processes import PartProcess
from blindrelay.testbed.unprivileged import launcher
from tests.certificates import Certificates
from tests.patience import wait_for

URL = "https://api.openai.com/v1/chat/completions"

BRIDGE = """
listen = "{listen}"
identity_key = "identity.key"
drain_seconds = 1
[tls]
certificate = "bridge/chain.pem"
key = "bridge/key.pem"
client_ca = "client/ca.pem"
[[provider]]
name = "openai"
preset = "openai"
target = "http://{provider}"
"""

RELAY = """
listen = "127.0.0.1:0"
tokens = "tokens"
drain_seconds = 1
{sandbox}
[tls]
certificate = "relay/chain.pem"
key = "relay/key.pem"
[[replica]]
address = "{bridge}"
[replica.tls]
ca = "bridge/ca.pem"
"""

SANDBOX = "sandbox = true" if landlock_version() > 0 else ""
"""The relay then reads new files in the sandbox. Envoy and its control process have none."""

CERTIFIED = 'certificate = "client/chain.pem"\nkey = "client/key.pem"\n'


class Parts:
    """Provider, bridge and relays, in one folder with all certificates."""

    def __init__(self, folder: Path, stack: ExitStack, data_plane: str) -> None:
        self.folder = folder
        self.stack = stack
        self.by_envoy = data_plane == "envoy"
        self.relays = Certificates(folder / "relay")
        self.bridges = Certificates(folder / "bridge")
        self.clients = Certificates(folder / "client")
        self.token = issue_token(folder / "tokens", "client", datetime.now(UTC))
        self.provider = self.start("provider", "blindrelay.testbed.scripted_provider")
        config = BRIDGE.format(provider=self.provider.listening, listen=free_address())
        self.bridge = self.start("bridge", "blindrelay.provider_bridge", config)

    def relay(self, more: str = CERTIFIED) -> PartProcess:
        """A relay in front of the bridge; `more` belongs to its [replica.tls]."""
        sandbox = "" if self.by_envoy else SANDBOX
        module = "blindrelay.testbed.envoy_relay" if self.by_envoy else "blindrelay.relay_node"
        config = RELAY.format(bridge=self.bridge.listening, sandbox=sandbox) + more
        return self.start("relay", module, config, () if self.by_envoy else launcher())

    def renew(self, name: str) -> None:
        """Replaces certificate, key and CA in a folder by those of another CA, each in one step."""
        made = Certificates(self.folder / f"new-{name}")
        for file in (made.ca, made.chain, made.key):
            file.rename(self.folder / name / file.name)

    def start(self, name: str, module: str, config: str = "", before: Sequence[str] = ()) -> PartProcess:
        file = self.folder / f"{name}.toml"
        file.write_text(config)
        arguments = ["serve", "--config", str(file), "--json"] if config else []
        part = PartProcess(name, module, lambda: arguments, launcher=before)
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
        return [json.loads(line)["event"] for line in relay.stderr.splitlines() if line.startswith("{")]


@pytest.fixture(params=["grpc", "envoy"])
def parts(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Parts]:
    with ExitStack() as stack:
        yield Parts(tmp_path, stack, request.param)


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
    """Unusable ones are passed over. Open connections stay."""
    relay = parts.relay()
    settled = parts.client(relay)
    assert ask(settled).status_code == 200
    half = parts.folder / "half"
    half.write_text("half a certif")
    half.rename(parts.relays.chain)
    assert ask(parts.client(relay)).status_code == 200, "the certificate before serves on"
    parts.renew("relay")
    wait_for(lambda: served(parts, relay))  # by a client that trusts the new CA alone
    assert ask(settled).status_code == 200
    assert parts.by_envoy or parts.events_of(relay).count("certificates_unusable") == 1


def test_relay_follows_new_authorities_of_a_bridge(parts: Parts) -> None:
    """Its own certificate, and the CA that it trusts, are others when the bridge starts again."""
    relay = parts.relay()
    assert served(parts, relay)
    parts.renew("bridge")
    parts.renew("client")
    parts.bridge.restart()
    wait_for(lambda: served(parts, relay))


def served(parts: Parts, relay: PartProcess) -> bool:
    """Whether a new client is served."""
    try:
        return ask(parts.client(relay)).status_code == 200
    except (RelayError, UnreachableError):
        return False
