"""Sealed or failed: in a network of its own, nothing of an exchange leaves in clear, whatever goes wrong."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from .canaries import Canaries
from .scenarios import CONTROLS, FAILURES

UNSHARE = ["unshare", "--net", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
KINDS = {field.name for field in fields(Canaries)}

ROOT = Path(__file__).parents[2]


def namespaces() -> bool:
    if shutil.which("ip") is None or shutil.which("unshare") is None:
        return False
    return subprocess.run([*UNSHARE, "ip", "link", "set", "lo", "up"], capture_output=True).returncode == 0


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    if not namespaces() and not os.environ.get("CI"):
        pytest.skip("no network namespaces on this machine")
    result = tmp_path_factory.mktemp("world") / "result.json"
    command = [*UNSHARE, sys.executable, "-m", "tests.sealed_or_failed.world", str(result)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    return {finding["name"]: finding for finding in json.loads(result.read_text())}


@pytest.mark.timeout(300)  # the first of them runs all
@pytest.mark.parametrize("name", FAILURES)
def test_nothing_leaves_in_clear(name: str, findings: dict[str, dict[str, Any]]) -> None:
    finding = findings[name]
    assert finding["clear"] == [], finding
    assert finding["strangers"] == STRANGERS.get(name, []), finding


STRANGERS = {
    # The relay's own name has to be asked for.
    "the relay's name is not resolved": ["192.0.2.53:53"],
    "the endpoint with a name that is not resolved": ["192.0.2.53:53"],
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", CONTROLS)
def test_a_leak_would_be_seen(name: str, findings: dict[str, dict[str, Any]]) -> None:
    assert set(findings[name]["clear"]) == KINDS
    assert findings[name]["strangers"] != []


def test_what_was_tried_ended_as_it_should(findings: dict[str, dict[str, Any]]) -> None:
    outcomes = {name: finding["outcome"] for name, finding in findings.items()}
    assert outcomes["all is well"] == "200"
    assert outcomes["the endpoint, and all is well"] == "200"
    assert outcomes["a program that is run, and all is well"] == "answered" + " APIConnectionError" * 2
    assert "relay_unreachable" in outcomes["nothing listens there"]
    assert "client/key_trust" in outcomes["the pin is wrong"]
