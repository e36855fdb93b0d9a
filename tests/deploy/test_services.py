"""The systemd units: well formed, strict, and the real processes work under what they allow."""

from __future__ import annotations

import ctypes.util
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from blindrelay.client import SealedTransport
from blindrelay.testbed import Testbed
from blindrelay.testbed.evidence.traces import is_confined

UNITS = sorted((Path(__file__).parents[2] / "deploy/systemd").glob("*.service"))
RELAY, BRIDGE = (next(unit for unit in UNITS if part in unit.name) for part in ("relay.s", "bridge.s"))
LANDLOCK = "landlock_create_ruleset"
CAP_SYS_ADMIN, PR_GET_MDWE = 21, 66
MOST_EXPOSURE = 2.0
"""What `systemd-analyze security` says at most: 0 is nothing exposed, 10 everything, most services have 9."""

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")


def may_confine() -> bool:
    """Whether under_unit.py can work here: CAP_SYS_ADMIN, prctl(PR_GET_MDWE) of Linux 6.3, libseccomp."""
    if sys.platform != "linux" or ctypes.util.find_library("seccomp") is None:
        return False
    status = Path("/proc/self/status").read_text()
    rights = int(status.partition("CapEff:")[2].split()[0], 16)
    return bool(rights & (1 << CAP_SYS_ADMIN)) and ctypes.CDLL(None).prctl(PR_GET_MDWE, 0, 0, 0, 0) >= 0


can_confine = pytest.mark.skipif(not may_confine(), reason="takes CAP_SYS_ADMIN, Linux 6.3 and libseccomp")


@needs_systemd
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_service_is_well_formed(unit: Path) -> None:
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True)
    said = [
        line for line in done.stderr.splitlines() if unit.name in line and "/opt/blindrelay/bin" not in line
    ]
    assert said == []


@needs_systemd
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_service_exposes_little(unit: Path) -> None:
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(unit)]
    said = subprocess.run(command, capture_output=True, text=True).stdout
    assert float(said.partition("exposure level for")[2].split()[1]) <= MOST_EXPOSURE, said


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_service_has_no_folder_to_write_to(unit: Path) -> None:
    names = {line.partition("=")[0] for line in unit.read_text().splitlines()}
    writable = {"ReadWritePaths", "StateDirectory", "CacheDirectory", "LogsDirectory", "RuntimeDirectory"}
    assert not names & writable


def answers(bed: Testbed, address: str) -> bool:
    with SealedTransport(bed.connection(address)) as sealed, sealed.httpx_client() as client:
        return client.get("https://api.openai.com/v1/models").status_code == httpx.codes.OK


@needs_systemd
@can_confine
def test_a_relay_serves_with_no_writable_path_under_its_unit() -> None:
    with Testbed("scripted", relay_options={"sandbox": True}) as bed:
        config = bed.folder / "relay.toml"
        with running("blindrelay.relay_node", config, allowed_by(RELAY)) as (relay, address):
            assert is_confined(relay.pid)
            assert "Seccomp_filters:\t2" in Path(f"/proc/{relay.pid}/status").read_text(), (
                "the unit's and its own"
            )
            assert answers(bed, address)


@needs_systemd
@can_confine
def test_a_bridge_serves_with_no_writable_path_under_its_unit() -> None:
    with Testbed("scripted") as bed:
        config = bed.folder / "bridge.toml"
        with running("blindrelay.provider_bridge", config, allowed_by(BRIDGE)) as (_, address):
            assert answers(bed, address)


@needs_systemd
@can_confine
def test_what_a_unit_does_not_allow_is_refused() -> None:
    with Testbed("scripted", relay_options={"sandbox": True}) as bed:
        command = confined("blindrelay.relay_node", bed.folder / "relay.toml", allowed_by(RELAY) - {LANDLOCK})
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "sandbox = true needs" in done.stderr


def allowed_by(unit: Path) -> set[str]:
    """The system calls of its SystemCallFilter= lines, its groups taken apart."""
    allowed: set[str] = set()
    for line in unit.read_text().splitlines():
        key, _, value = line.partition("=")
        if key == "SystemCallFilter":
            calls = {call for word in value.removeprefix("~").split() for call in members(word)}
            allowed = allowed - calls if value.startswith("~") else allowed | calls
    return allowed


def members(word: str) -> Iterator[str]:
    """The system calls of a group, or the call itself."""
    if not word.startswith("@"):
        yield word
        return
    listed = subprocess.run(
        ["systemd-analyze", "syscall-filter", word], capture_output=True, text=True, check=True
    )
    for line in listed.stdout.splitlines()[1:]:
        if name := line.partition("#")[0].strip():
            yield from members(name)


def confined(module: str, config: Path, allowed: set[str]) -> list[str]:
    """The command that serves by a configuration, with these system calls only."""
    launcher = [sys.executable, str(Path(__file__).with_name("under_unit.py")), ",".join(sorted(allowed))]
    return [*launcher, sys.executable, "-P", "-m", module, "serve", "--config", str(config), "--json"]


@contextmanager
def running(module: str, config: Path, allowed: set[str]) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A part that is served so, and where it listens."""
    command = confined(module, config, allowed)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        line = process.stdout.readline()
        try:
            assert line, process.stderr.read()
            yield process, json.loads(line)["listening"]
        finally:
            process.terminate()
