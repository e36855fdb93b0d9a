"""The chart's pods, with their own commands, files, probes and hooks: they serve, and finish what runs."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from openai.types.chat import ChatCompletionChunk

from blindrelay.provider_bridge.keys.key_files import load_or_make_identity
from blindrelay.serving import StartError
from blindrelay.testbed.envoy_relay import envoy_program
from blindrelay.testbed.postgresql import programs
from blindrelay.testbed.processes import PartProcess
from blindrelay.testbed.providers import provider_process
from blindrelay.testbed.scale.client import Caller
from blindrelay.trust import format_identity
from tests.deploy.chart import PRICES, make_secrets, rendered
from tests.deploy.kubelet import PATIENCE, Kubelet, values_for

SCRIPT = 'extends = "self_hosted"\n[Chat]\n"$content" = "scripted"\n'
WORDS = "one two three four five six seven eight"
LONG: dict[str, object] = {"text": WORDS, "pieces_per_second": 1}
"""Eight seconds: longer than Envoy listens after it was told to drain."""


@pytest.fixture
def folder() -> Iterator[Path]:
    """With a short path, for sockets."""
    made = Path(tempfile.mkdtemp(prefix="pods-"))
    yield made
    shutil.rmtree(made)


@pytest.fixture
def provider(folder: Path) -> Iterator[str]:
    part = provider_process("scripted", lambda: folder)
    assert part is not None
    part.start()
    yield f"http://{part.listening}"
    part.stop()


@contextmanager
def cluster(folder: Path, provider: str, books_url: str, **parts: Mapping[str, Any]) -> Iterator[Kubelet]:
    identity = load_or_make_identity(folder / "identity.key")
    key = (folder / "identity.key").read_text()
    secrets = make_secrets(folder, identity_key=key, books_url=books_url)
    secrets["blindrelay-bridge"]["script.toml"] = SCRIPT
    (folder / "client.json").write_text(json.dumps(secrets["client"]))
    (folder / "ca.pem").write_text(secrets["client"]["ca.pem"])
    (folder / "identity").write_text(format_identity(identity.public_key))
    values = values_for(provider, format_identity(identity.public_key), **parts)
    with Kubelet(rendered(values), secrets, folder / "pods") as kubelet:
        try:
            yield kubelet
        finally:
            print((folder / "pods/output").read_text())  # pytest shows it if the test fails


def connection(folder: Path, kubelet: Kubelet, token: str = "") -> str:
    token = token or json.loads((folder / "client.json").read_text())["token"]
    options = f"bridge={(folder / 'identity').read_text()}&ca={folder / 'ca.pem'}&history=off"
    return f"blindrelay://{token}@localhost:{kubelet.ports[8443]}?{options}"


def contents(chunks: Iterable[ChatCompletionChunk]) -> Iterator[str]:
    """The pieces of an answer."""
    return (chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def test_pod_with_envoy_serves_and_finishes_a_stream_before_it_stops(folder: Path, provider: str) -> None:
    try:
        envoy_program()
    except StartError as error:
        pytest.skip(str(error))
    relay = {"dataPlane": "envoy", "config": {"drain_seconds": 60}}
    with cluster(folder, provider, "", relay=relay, ledger={"enabled": False}) as kubelet:
        for part in ("relay", "bridge"):
            kubelet.start(part)
        for part in ("bridge", "relay"):
            kubelet.wait_until_ready(part)
        with Caller([connection(folder, kubelet)]) as caller:
            assert caller.ask()
            pieces = contents(caller.stream(LONG))
            text = next(piece for piece in pieces if piece)
            hooks = kubelet.pre_stop("relay")
            assert text + "".join(pieces) == WORDS
        assert hooks["control"].wait(PATIENCE) == 0, "Envoy's exchanges have finished"
        assert hooks["envoy"].poll() is None, "Envoy stays as long as its control process"
        assert kubelet.terminate("control") == 0
        assert hooks["envoy"].wait(PATIENCE) == 0
        assert kubelet.terminate("envoy") == 0


def test_pods_with_a_ledger_serve_and_charge(folder: Path, provider: str) -> None:
    if programs() is None:
        pytest.skip("there is no PostgreSQL server here")
    books = folder / "books"
    books.mkdir()
    folder.chmod(0o755)
    database = PartProcess("database", "blindrelay.testbed.postgresql", lambda: [str(books)])
    database.start()
    try:
        url = database.announcement["url"]
        with cluster(folder, provider, url, bridge={"prices": PRICES}) as kubelet:
            for part in ("relay", "ledger", "bridge"):
                kubelet.start(part)
            for part in ("bridge", "ledger", "relay"):
                kubelet.wait_until_ready(part)
            ledger = "blindrelay.ledger"
            kubelet.command("ledger", ledger, "account", "add", "alice")
            kubelet.command("ledger", ledger, "credit", "alice", "1000000", "--reference", "1")
            issued = kubelet.command("ledger", ledger, "token", "issue", "alice", "--json")
            with Caller([connection(folder, kubelet, json.loads(issued)["token"])]) as caller:
                assert caller.ask()
            while not (said := statement(kubelet))["lines"] or said["lines"][0]["state"] != "posted":
                assert database.is_running
            kubelet.terminate("bridge")
            kubelet.wait_until_unready("relay")  # it reaches no bridge
            assert kubelet.pre_stop("relay")["relay"].wait(PATIENCE) == 0
            assert kubelet.terminate("relay") == kubelet.terminate("ledger") == 0
    finally:
        database.stop()


def statement(kubelet: Kubelet) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        kubelet.command("ledger", "blindrelay.ledger", "statement", "alice", "--json")
    )
    return found
