"""The compose files: they run commands that exist, with configurations that are read."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml

from blindrelay.ledger.config import read_ledger_config
from blindrelay.provider_bridge.config import read_bridge_config
from blindrelay.relay_node import read_relay_config
from blindrelay.serving import issue_token
from blindrelay.testing.configuration import write_prices
from blindrelay.v1.identity_text import format_identity

COMPOSE = Path(__file__).parents[2] / "deploy/compose"
MODULES = {
    "blindrelay-relay": "blindrelay.relay_node",
    "blindrelay-bridge": "blindrelay.provider_bridge",
    "blindrelay-ledger": "blindrelay.ledger",
}
READERS: dict[str, Callable[[Path], object]] = {
    "relay.toml": read_relay_config,
    "bridge.toml": read_bridge_config,
    "ledger.toml": read_ledger_config,
}
FOUND = sorted(COMPOSE.glob("*/compose.yaml"))
SERVICES = [
    pytest.param(file.parent, service, id=f"{file.parent.name}-{name}")
    for file in FOUND
    for name, service in yaml.safe_load(file.read_text())["services"].items()
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the folder's siblings, to which the files are added that an operator makes."""
    return Path(shutil.copytree(COMPOSE, tmp_path / "compose"))


@pytest.mark.parametrize(("of", "service"), SERVICES)
def test_service_runs_a_command_that_exists_with_a_configuration_that_is_read(
    folder: Path, of: Path, service: dict[str, Any]
) -> None:
    if service["image"] not in MODULES:
        assert re.search(r":v?\d+", service["image"]), "an image has a version"
        return
    assert service["user"] == "65532:65532"
    assert service["read_only"] is True
    assert "mem_limit" in service
    verb, option, config = service["command"]
    helped = [sys.executable, "-m", MODULES[service["image"]], verb, "--help"]
    assert option in subprocess.run(helped, check=True, capture_output=True, text=True).stdout
    file = folder / of.name / mounted(service, config)
    complete(file)
    READERS[file.name](file)


def mounted(service: dict[str, Any], path: str) -> str:
    """The path beside the compose file of a file in the container."""
    for volume in service["volumes"]:
        outside, inside, *_ = volume.split(":")
        if path.startswith(f"{inside}/"):
            return f"{outside}/{path.removeprefix(f'{inside}/')}"
    raise AssertionError(f"{path} is on no volume")


def complete(config: Path) -> None:
    """Writes an identity into a configuration, and the files that it names beside it."""
    folder = config.parent
    config.write_text(config.read_text().replace("br1…", format_identity(bytes(32))))
    token = issue_token(folder / "ledger-relays", "relay", datetime.now(UTC))
    private = {
        "ledger-token": token,
        "openai-key": "sk-nothing",
        "books-url": "postgresql://books:secret@127.0.0.1/books",
    }
    for name, text in private.items():
        (folder / name).touch(0o600)
        (folder / name).write_text(text)
    certificate = trustme.CA().issue_cert("relay.example")
    certificate.cert_chain_pems[0].write_to_path(folder / "relay.pem")
    (folder / "relay.key").touch(0o600)
    certificate.private_key_pem.write_to_path(folder / "relay.key")
    write_prices(folder, {"openai/*": {"input": 1, "output": 1}})


def test_no_two_services_of_one_machine_listen_on_the_same_address(folder: Path) -> None:
    for file in FOUND:
        texts = [config.read_text() for config in sorted(file.parent.rglob("*.toml"))]
        listening = [
            port for text in texts for port in re.findall(r'^(?:listen|admin) = ".*:(\d+)"', text, re.M)
        ]
        assert len(set(listening)) == len(listening)
