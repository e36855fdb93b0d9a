"""The Helm chart: what it renders is complete, confined, and read by the programs that it starts."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from blindrelay.ledger.config import read_ledger_config
from blindrelay.provider_bridge.billing.prices import read_prices
from blindrelay.provider_bridge.config import DelegatedKey, read_bridge_config
from blindrelay.relay_node import read_relay_config
from tests.deploy.chart import (
    CHART,
    IDENTITY,
    PRICES,
    ROOT,
    Manifest,
    Pods,
    Values,
    helm,
    make_secrets,
    pods_of,
    rendered,
    write_config,
)

PLAIN: Values = {"bridge": {"identity": IDENTITY}}
CREDENTIALS = [{"name": "x", "file": "openai-key", "weight": 2}]
SETS: dict[str, Values] = {
    "plain": PLAIN,
    "envoy": {**PLAIN, "relay": {"dataPlane": "envoy", "config": {"drain_seconds": 60}}},
    "bills": {"bridge": {"identity": IDENTITY, "prices": PRICES, "nextIdentity": IDENTITY}},
    "mesh": {
        "relay": {"tls": "", "config": {"max_exchanges": 5_000_000 // 5}},
        "ledger": {"tls": ""},
        "bridge": {"identity": IDENTITY, "tls": "", "replicas": 3},
    },
    "tokens": {**PLAIN, "ledger": {"enabled": False}},
    "relays alone": {
        "bridge": {"enabled": False},
        "bridges": [
            {
                "address": "bridge.example:8490",
                "identity": IDENTITY,
                "token_file": "bridge-token",
                "tls": {"ca": "bridges-ca.pem"},
            }
        ],
    },
    "bridges alone": {
        "relay": {"enabled": False},
        "ledger": {"enabled": False},
        "bridge": {
            "identity": IDENTITY,
            "prices": PRICES,
            "ingress": [{"ipBlock": {"cidr": "192.0.2.0/24"}}],
            "config": {
                "max_buffered_bytes": 536_870_912,
                **{"aggregate": {}, "signing_key": "signing.key", "delegation": "delegation"},
                "model": [{"name": "a", "targets": [{"provider": "openai", "model": "b<c>", "weight": 2}]}],
                "provider": [
                    {
                        "name": "openai",
                        "preset": "openai",
                        "credentials": [{"name": "x", "file": "openai-key"}],
                    }
                ],
            },
        },
    },
}
PARTS: dict[str, set[str]] = {
    name: {part for part in ("relay", "ledger", "bridge") if values.get(part, {}).get("enabled", True)}
    for name, values in SETS.items()
}
MODULES = {
    re.search(r"-t (\S+) ", text)[1]: re.search(r'ENTRYPOINT \["/usr/bin/python3", "-m", "(\S+)"\]', text)[1]  # type: ignore[index]
    for text in (file.read_text() for file in ROOT.glob("deploy/Containerfile*[!e]"))
    if "ENTRYPOINT" in text
}
"""What each image runs."""

READERS: dict[str, Any] = {
    "relay": read_relay_config,
    "ledger": read_ledger_config,
    "bridge": read_bridge_config,
}
of_every_set = pytest.mark.parametrize("name", SETS)


@cache
def manifests_of(name: str) -> list[Manifest]:
    return rendered(SETS[name])


def every_pod(name: str) -> list[Pods]:
    pods = list(pods_of(manifests_of(name)))
    assert {each.part for each in pods} == PARTS[name]
    return pods


@of_every_set
def test_chart_passes_helms_own_check(name: str) -> None:
    done = helm("lint", "--strict", str(CHART), values=SETS[name])
    assert done.returncode == 0, done.stdout


@of_every_set
def test_configurations_are_read_by_the_programs(name: str, tmp_path: Path) -> None:
    """With the Secrets that the chart's README lists, and no other file."""
    secrets = make_secrets(tmp_path)
    for pods in every_pod(name):
        folder = tmp_path / pods.part
        folder.mkdir()
        write_config(pods, manifests_of(name), secrets, folder)
        config = READERS[pods.part](folder / f"{pods.part}.toml")
        assert (config.tls is None) == config.plaintext == (name == "mesh")
        if pods.part == "bridge":
            assert isinstance(config.identity_key, DelegatedKey) == (name == "bridges alone")
        if pods.part == "bridge" and config.billing is not None:
            assert read_prices(config.billing.prices, bytes(32), ["openai"])
        assert (folder / f"{pods.part}.toml").stat().st_mode & 0o777 == 0o440


@of_every_set
def test_relays_and_ledgers_know_every_bridge(name: str) -> None:
    named = [
        f"{each['metadata']['name']}-{number}.blindrelay-bridge.sealed.svc:8490"
        for each in manifests_of(name)
        if each["kind"] == "StatefulSet"
        for number in range(each["spec"]["replicas"])
    ]
    given = [each["address"] for each in SETS[name].get("bridges", ())]
    for part, key in (("relay", "replica"), ("ledger", "bridge")):
        if part in PARTS[name]:
            assert [each["address"] for each in written(name, part)[key]] == named + given


def written(name: str, part: str) -> dict[str, Any]:
    """The configuration of a part, as TOML says it."""
    [text] = [
        manifest["data"][f"{part}.toml"]
        for manifest in manifests_of(name)
        if manifest["kind"] == "ConfigMap" and f"{part}.toml" in manifest["data"]
    ]
    return tomllib.loads(text)


@cache
def help_of(module: str, verb: str) -> str:
    command = [sys.executable, "-m", module, verb, "--help"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@of_every_set
def test_commands_exist(name: str) -> None:
    """Of containers, probes and hooks, in images whose entry point is the one that their file says."""
    for container in (each for pods in every_pod(name) for each in pods.containers):
        image = container["image"].partition(":")[0]
        commands = [*probes(container), *hooks(container)]
        if image in MODULES:
            commands.append(["/usr/bin/python3", "-m", MODULES[image], *container["args"]])
        for program, *arguments in commands:
            if arguments[0] == "-m":
                assert program == "/usr/bin/python3"
                _, module, verb, option, config = arguments
                assert option in help_of(module, verb)
                assert config.startswith(container["volumeMounts"][0]["mountPath"])


def probes(container: Manifest) -> list[list[str]]:
    return [probe["exec"]["command"] for key, probe in container.items() if key == "readinessProbe"]


def hooks(container: Manifest) -> list[list[str]]:
    return [hook["exec"]["command"] for hook in container.get("lifecycle", {}).values()]


@of_every_set
def test_pods_are_confined_and_bounded(name: str) -> None:
    for pods in every_pod(name):
        assert pods.spec["securityContext"]["runAsNonRoot"] is True
        assert pods.spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pods.spec["automountServiceAccountToken"] is False
        for container in pods.containers:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert "memory" in container["resources"]["limits"]
            mounts = {mount["name"]: mount.get("readOnly", False) for mount in container["volumeMounts"]}
            volumes = {volume["name"] for volume in pods.spec["volumes"]} | {"outbox"}
            assert mounts["config"] is True
            assert set(mounts) <= volumes


@of_every_set
def test_names_lead_to_something(name: str) -> None:
    """Selectors to pods, and ports to ports of them. Each part has its service, budget and network policy."""
    pods = {each.part: each for each in every_pod(name)}
    for manifest in manifests_of(name):
        assert manifest["metadata"]["namespace"] == "sealed"
        part = manifest["metadata"]["labels"]["app.kubernetes.io/component"]
        labels = pods[part].labels
        ports = {port["name"] for container in pods[part].containers for port in container.get("ports", ())}
        if manifest["kind"] == "Service":
            assert manifest["spec"]["selector"].items() <= labels.items()
            assert {port["targetPort"] for port in manifest["spec"]["ports"]} <= ports
        elif manifest["kind"] == "NetworkPolicy":
            assert manifest["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
            assert manifest["spec"]["policyTypes"] == ["Ingress", "Egress"]
            assert {port["port"] for rule in manifest["spec"]["ingress"] for port in rule["ports"]} <= ports
        elif manifest["kind"] != "ConfigMap":
            assert manifest["spec"]["selector"]["matchLabels"].items() <= labels.items()
    kinds = {(each["kind"], each["metadata"]["name"]) for each in manifests_of(name)}
    for kind in ("ConfigMap", "Service", "PodDisruptionBudget", "NetworkPolicy"):
        assert {name for found, name in kinds if found == kind} == {f"blindrelay-{part}" for part in pods}
    assert "Secret" not in {kind for kind, _ in kinds}, "they are the operator's"


@of_every_set
def test_pod_may_finish_what_runs(name: str) -> None:
    for pods in every_pod(name):
        drain = written(name, pods.part).get("drain_seconds", 5 if pods.part == "ledger" else 30)
        rounds = len(pods.containers)
        assert pods.spec["terminationGracePeriodSeconds"] >= rounds * drain + 10


def test_notes_say_which_secrets_are_needed(tmp_path: Path) -> None:
    """`helm install` shows them. Without a cluster, a template of a copy does."""
    copy = Path(shutil.copytree(CHART, tmp_path / "chart"))
    (copy / "templates/NOTES.txt").rename(copy / "notes")
    (copy / "templates/notes.yaml").write_text('notes: {{ tpl (.Files.Get "notes") . | toJson }}')
    command = ("template", "blindrelay", str(copy), "--namespace", "sealed", "-s", "templates/notes.yaml")
    notes = yaml.safe_load(helm(*command, values=PLAIN).stdout)["notes"]
    for part in READERS:
        assert f"blindrelay-{part}:" in notes
        assert f"blindrelay-{part}-tls (kubernetes.io/tls)" in notes
    assert "*.blindrelay-bridge.sealed.svc" in notes
    assert f"?bridge={IDENTITY}" in notes
