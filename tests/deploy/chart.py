"""The Helm chart, rendered: its manifests, and the files that its pods find."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml

from blindrelay.serving import issue_token
from blindrelay.v1.identity_text import format_identity

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy/helm/blindrelay"
NAMESPACE = "sealed"
IDENTITY = format_identity(bytes(32))

Manifest = dict[str, Any]
Values = Mapping[str, Any]
Secrets = Mapping[str, Mapping[str, str]]
"""Files by Secret, and by name."""

PRICES = {
    "unit": "10 µUSD",
    "valid_from": "2026-01-01",
    "valid_to": "2099-12-31",
    "price": [{"provider": "openai", "model": "*", "input": 125_000, "output": 1_000_000}],
}


def helm(*arguments: str, values: Values | None = None) -> subprocess.CompletedProcess[str]:
    """Runs Helm with values from its stdin."""
    here = shutil.which("helm", path=str(Path(sys.executable).parent)) or shutil.which("helm")
    if here is None:
        pytest.skip("Helm is not installed: its wheel exists for Linux on x86-64 alone")
    command = [here, *arguments, *(() if values is None else ("--values", "-"))]
    return subprocess.run(command, input=json.dumps(values), capture_output=True, text=True, check=False)


def rendered(values: Values) -> list[Manifest]:
    """The manifests of a release called "blindrelay"."""
    done = helm("template", "blindrelay", str(CHART), "--namespace", NAMESPACE, values=values)
    assert done.returncode == 0, done.stderr
    return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]


@dataclass(frozen=True)
class Pods:
    """The pods of one part of a release: what its Deployment or StatefulSet makes."""

    part: str
    labels: Mapping[str, str]
    spec: Mapping[str, Any]

    @property
    def containers(self) -> list[Manifest]:
        return list(self.spec["containers"])


def pods_of(manifests: list[Manifest]) -> Iterator[Pods]:
    for manifest in manifests:
        if "template" in manifest.get("spec", {}):
            template = manifest["spec"]["template"]
            labels = template["metadata"]["labels"]
            yield Pods(labels["app.kubernetes.io/component"], labels, template["spec"])


def write_config(pods: Pods, manifests: list[Manifest], secrets: Secrets, folder: Path) -> None:
    """Writes what a pod finds in /etc/blindrelay."""
    maps = {each["metadata"]["name"]: each["data"] for each in manifests if each["kind"] == "ConfigMap"}
    projected = next(each["projected"] for each in pods.spec["volumes"] if each["name"] == "config")
    for source in projected["sources"]:
        [(kind, named)] = source.items()
        found = {"configMap": maps, "secret": secrets}[kind][named["name"]]
        items = named.get("items") or [{"key": key, "path": key} for key in found]
        for item in items:
            file = folder / item["path"]
            file.touch()
            file.chmod(0o600)
            file.write_text(found[item["key"]])
            file.chmod(projected["defaultMode"])


def make_secrets(folder: Path, **more: str) -> dict[str, dict[str, str]]:
    """The Secrets that the chart's README lists, with the names of values.yaml. `more`: other contents."""
    authority = trustme.CA()
    ca = authority.cert_pem.bytes().decode()
    names = {
        "relay": "relay.example",
        "ledger": f"blindrelay-ledger.{NAMESPACE}.svc",
        "bridge": f"*.blindrelay-bridge.{NAMESPACE}.svc",
    }
    tokens = {file: _tokens(folder, file) for file in ("tokens", "relay-tokens", "ledger-relays")}
    (client, tokens_file), (bridge_token, relay_tokens), (ledger_token, ledger_relays) = tokens.values()
    peers = {"bridge-token": bridge_token, "bridges-ca.pem": ca}
    books = {"books-url": "postgresql://books:secret@db.example/books", "ledger-relays": ledger_relays}
    provider = {"identity.key": "", "relay-tokens": relay_tokens, "openai-key": "sk-nothing"}
    return {
        "blindrelay-relay": {
            **peers,
            **{"ledger-token": ledger_token, "ledgers-ca.pem": ca, "tokens": tokens_file},
        },
        "blindrelay-ledger": {**peers, **books, **_known(more, books)},
        "blindrelay-bridge": {**provider, **_known(more, provider)},
        **{f"blindrelay-{part}-tls": _certificate(authority, name) for part, name in names.items()},
        "client": {"token": client, "ca.pem": ca},
    }


def _known(more: Mapping[str, str], files: Mapping[str, str]) -> dict[str, str]:
    return {file: text for file in files if (text := more.get(file.replace("-", "_").replace(".", "_")))}


def _tokens(folder: Path, name: str) -> tuple[str, str]:
    """A token, and the file with its hash."""
    token = issue_token(folder / name, "somebody", datetime.now(UTC))
    return token, (folder / name).read_text()


def _certificate(authority: trustme.CA, name: str) -> dict[str, str]:
    issued = authority.issue_cert(name, "localhost")
    return {
        "tls.crt": issued.cert_chain_pems[0].bytes().decode(),
        "tls.key": issued.private_key_pem.bytes().decode(),
    }
