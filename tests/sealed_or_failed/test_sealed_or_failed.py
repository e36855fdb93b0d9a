"""Sealed or failed: in an isolated network, nothing of an exchange leaves in clear, whatever fails."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import pytest

from .content import Canaries
from .controls import CONTROLS
from .scenarios import SEALED

UNSHARE: Final = ["unshare", "--net", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
KINDS: Final = {field.name for field in fields(Canaries)}
ROOT: Final = Path(__file__).parents[2]

ASKED_FOR: Final = {"the relay's name is not resolved": ["192.0.2.53:53"]}
"""Other hosts that an exchange may use: the relay's name must be resolved."""

PAST_THE_ENDPOINT: Final = "past the endpoint"
"""A program that is run tries this and must fail."""


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
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1_780)
    assert done.returncode == 0, done.stderr
    return {finding["name"]: finding for finding in json.loads(result.read_text())}


@pytest.mark.timeout(1_800)  # the first of them runs all
@pytest.mark.parametrize("name", SEALED)
def test_nothing_leaves_in_clear(name: str, findings: dict[str, dict[str, Any]]) -> None:
    finding = findings[name]
    assert finding["clear"] == [], finding
    assert finding["strangers"] == ASKED_FOR.get(name, []), finding


@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("name", SEALED)
def test_it_ended_as_it_should(name: str, findings: dict[str, dict[str, Any]]) -> None:
    """A failure that did not happen would prove nothing."""
    outcomes = findings[name]["outcomes"]
    refused = {"ProxyError", "not_sealed"}
    assert set(outcomes.pop(PAST_THE_ENDPOINT, refused)) == refused
    assert {each for ends in outcomes.values() for each in ends} == SEALED[name].ends, outcomes


@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("name", CONTROLS)
def test_a_leak_would_be_seen(name: str, findings: dict[str, dict[str, Any]]) -> None:
    assert set(findings[name]["clear"]) == KINDS
    assert findings[name]["strangers"] != []
