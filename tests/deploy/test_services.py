"""The systemd units: well formed and strict; the real processes work within what they allow."""

from __future__ import annotations

import ctypes.util
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
import trustme

from blindrelay.client import SealedTransport
from blindrelay.serving import issue_token
from blindrelay.serving.landlock import landlock_version
from blindrelay.testbed import Testbed
from blindrelay.testbed.evidence.traces import is_confined
from blindrelay.testbed.unprivileged import launcher

UNITS = sorted((Path(__file__).parents[2] / "deploy/systemd").glob("*.service"))
RELAY, BRIDGE = (next(unit for unit in UNITS if part in unit.name) for part in ("relay.s", "bridge.s"))
LANDLOCK = "landlock_create_ruleset"
CAP_SYS_ADMIN, PR_GET_MDWE = 21, 66
MOST_EXPOSURE = 2.0
"""What `systemd-analyze security` says at most: 0 is nothing exposed, 10 everything, most services have 9."""

each_unit = pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
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
@each_unit
def test_service_is_well_formed(unit: Path) -> None:
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True)
    said = [
        line for line in done.stderr.splitlines() if unit.name in line and "/opt/blindrelay/bin" not in line
    ]
    assert said == []


@needs_systemd
@each_unit
def test_service_exposes_little(unit: Path) -> None:
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(unit)]
    said = subprocess.run(command, capture_output=True, text=True).stdout
    assert float(said.partition("exposure level for")[2].split()[1]) <= MOST_EXPOSURE, said


@each_unit
def test_service_is_bounded_and_has_no_terminal_and_no_writable_folder(unit: Path) -> None:
    lines = unit.read_text().splitlines()
    names = {line.partition("=")[0] for line in lines}
    writable = {"ReadWritePaths", "StateDirectory", "CacheDirectory", "LogsDirectory", "RuntimeDirectory"}
    assert not names & writable
    assert "MemoryMax" in names
    assert {"DynamicUser=yes", "StandardInput=null", "LimitCORE=0", "ProtectSystem=strict"} <= set(lines)


def answers(bed: Testbed, address: str) -> bool:
    with SealedTransport(bed.connection(address)) as sealed, sealed.httpx_client() as client:
        return client.get("https://api.openai.com/v1/models").status_code == httpx.codes.OK


@needs_systemd
@can_confine
def test_relay_serves_within_its_unit() -> None:
    with Testbed("scripted", relay_options={"sandbox": True}) as bed:
        config = bed.folder / "relay.toml"
        with running("blindrelay.relay_node", config, allowed_by(RELAY)) as (relay, address):
            assert is_confined(relay.pid)
            filters = Path(f"/proc/{relay.pid}/status").read_text()
            assert "Seccomp_filters:\t2" in filters, "the unit's and its own"
            assert answers(bed, address)


@needs_systemd
@can_confine
def test_bridge_serves_within_its_unit() -> None:
    with Testbed("scripted") as bed:
        config = bed.folder / "bridge.toml"
        with running("blindrelay.provider_bridge", config, allowed_by(BRIDGE)) as (_, address):
            assert answers(bed, address)


@needs_systemd
@can_confine
def test_call_outside_the_unit_is_refused() -> None:
    with Testbed("scripted", relay_options={"sandbox": True}) as bed:
        command = confined("blindrelay.relay_node", bed.folder / "relay.toml", allowed_by(RELAY) - {LANDLOCK})
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "sandbox = true needs" in done.stderr


def allowed_by(unit: Path) -> set[str]:
    """The system calls of its SystemCallFilter= lines, with groups expanded."""
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
    """The command that serves with a configuration and these system calls only."""
    launcher = [sys.executable, str(Path(__file__).with_name("under_unit.py")), ",".join(sorted(allowed))]
    return [*launcher, sys.executable, "-P", "-m", module, "serve", "--config", str(config), "--json"]


@contextmanager
def running(module: str, config: Path, allowed: set[str]) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A part that serves within them, and its address."""
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


OPERATIONS = (Path(__file__).parents[2] / "docs/operations.md").read_text()
CREDENTIALS = "${CREDENTIALS_DIRECTORY}/"


def documented(name: str) -> str:
    """The configuration in docs/operations.md whose first comment has that name."""
    block = OPERATIONS.partition(f"```toml\n# {name}")[2].partition("```")[0]
    assert block
    return f"# {block}"


def loaded(unit: Path) -> set[str]:
    return set(re.findall(r"^LoadCredential=([\w.-]+):/etc/blindrelay/\1$", unit.read_text(), re.MULTILINE))


def started_by(unit: Path) -> list[str]:
    """What ExecStart= runs, with the Python that runs this."""
    program, *arguments = unit.read_text().partition("ExecStart=")[2].partition("\n")[0].split()
    modules = {"blindrelay-relay": "relay_node", "blindrelay-bridge": "provider_bridge"}
    return [sys.executable, "-m", f"blindrelay.{modules[Path(program).name]}", *arguments]


class Machine:
    """The contents of /etc/blindrelay for both units, made with the commands of docs/operations.md."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ca = trustme.CA()
        self.relay_port, self.bridge_port = (free_port() for _ in range(2))
        self.relay_token = self._token("tokens", "alice")
        self._write("bridge-token", self._token("relay-tokens", "relay-1"))
        self._write("openai-key", "sk-nothing")
        self._ca.cert_pem.write_to_path(folder / "bridges-ca.pem")
        for name in ("relay", "bridge"):
            certificate = self._ca.issue_cert("localhost")
            certificate.cert_chain_pems[0].write_to_path(folder / f"{name}.pem")
            self._write(f"{name}.key", certificate.private_key_pem.bytes().decode())
        public = bridge_command("signing-key", "--out", str(folder / "signing.key"))
        self.identity = bridge_command("identity", "--make", "--key", str(folder.parent / "identity.key"))
        bridge_command(
            *("delegate", "--key", str(folder.parent / "identity.key"), "--signing-key", public),
            *("--days", "30", "--out", str(folder / "delegation")),
        )

    def configure(self, name: str, *changes: tuple[str, str]) -> None:
        """Writes the documented configuration, with this machine's own values in it."""
        text = documented(name)
        for before, after in changes:
            assert before in text, before
            text = text.replace(before, after)
        self._write(name, text)

    def credentials(self, unit: Path) -> str:
        """A folder with only what the unit loads, readable only by its user."""
        folder = self._folder.parent / unit.stem
        folder.mkdir()
        for name in loaded(unit):
            shutil.copy(self._folder / name, folder / name)
            (folder / name).chmod(0o400)
        return str(folder)

    def _token(self, file: str, name: str) -> str:
        return issue_token(self._folder / file, name, datetime.now(UTC))

    def _write(self, name: str, text: str) -> None:
        (self._folder / name).write_text(text)
        (self._folder / name).chmod(0o600)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def bridge_command(*arguments: str) -> str:
    command = [sys.executable, "-m", "blindrelay.provider_bridge", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@contextmanager
def unit_running(unit: Path, machine: Machine) -> Iterator[subprocess.Popen[str]]:
    """The unit's ExecStart=, as a user other than root, with only its credentials."""
    folder = machine.credentials(unit)
    command = [part.replace(CREDENTIALS, f"{folder}/") for part in started_by(unit)]
    doctor = [*command[: command.index("serve")], "doctor", *command[command.index("--config") :]]
    environment = {**os.environ, "CREDENTIALS_DIRECTORY": folder}
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    examined = subprocess.run([*launcher(), *doctor], env=environment, capture_output=True, text=True)
    failed = [line for line in examined.stdout.splitlines() if line.startswith("FAILED")]
    assert [line for line in failed if "provider" not in line] == [], "no network is needed for the rest"
    with subprocess.Popen([*launcher(), *command], env=environment, text=True, **streams) as process:  # type: ignore[call-overload]
        try:
            yield process
        finally:
            process.terminate()


@pytest.mark.skipif(not landlock_version() and not os.environ.get("CI"), reason="no Landlock here")
def test_units_run_the_documented_configurations(tmp_path: Path) -> None:
    """The relay fetches the bridge's directory over TLS, with its token."""
    (tmp_path / "etc").mkdir()
    machine = Machine(tmp_path / "etc")
    machine.configure(
        "bridge.toml",
        ("0.0.0.0:8490", f"127.0.0.1:{machine.bridge_port}"),
        ('identity_key = "identity.key"', 'signing_key = "signing.key"\ndelegation = "delegation"'),
        ('{ env = "OPENAI_API_KEY" }', '{ file = "openai-key" }'),
    )
    machine.configure(
        "relay.toml",
        ("0.0.0.0:443", f"127.0.0.1:{machine.relay_port}"),
        ("bridge-1.example:8490", f"localhost:{machine.bridge_port}"),
        ('identity = "br1…"', f'identity = "{machine.identity}"'),
    )
    with unit_running(BRIDGE, machine) as bridge:
        assert bridge.stdout is not None
        assert "listens on" in bridge.stdout.readline()
        with unit_running(RELAY, machine) as relay:
            assert relay.stdout is not None
            said = {relay.stdout.readline() for _ in range(3)}
            assert is_confined(relay.pid)
    assert {json.loads(line)["event"] for line in said if line.startswith("{")} == {"started", "replica_up"}


@pytest.mark.parametrize(("unit", "name"), [(RELAY, "relay.toml"), (BRIDGE, "bridge.toml")])
def test_unit_loads_the_files_of_its_documented_configuration(unit: Path, name: str) -> None:
    files = {"tokens", "certificate", "key", "client_ca", "ca", "token_file"}
    named = re.findall(rf'^({"|".join(files)}) = "([^"]+)"', documented(name), re.MULTILINE)
    assert {name, *(file for _, file in named)} <= loaded(unit)
