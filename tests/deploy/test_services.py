"""The systemd units: well formed and strict; the real processes work within what they allow."""

from __future__ import annotations

import ctypes.util
import json
import os
import re
import shutil
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
from blindrelay.testbed.evidence.traces import is_confined, written_files_of
from blindrelay.testbed.ports import free_port
from blindrelay.testbed.providers import provider_process
from blindrelay.testbed.unprivileged import launcher

ROOT = Path(__file__).parents[2]
OPERATIONS = (ROOT / "docs/operations.md").read_text()
UNITS = sorted((ROOT / "deploy/systemd").glob("*.service"))
RELAY, BRIDGE, LEDGER = (
    next(unit for unit in UNITS if part in unit.name) for part in ("relay.s", "bridge.s", "ledger.s")
)
WRITABLE = {
    "blindrelay-ledger.service": {"StateDirectory"},
    "blindrelay-control.service": {"RuntimeDirectory"},
    "blindrelay-envoy.service": {"RuntimeDirectory"},
}
MODULES = {
    "blindrelay-relay": "relay_node",
    "blindrelay-bridge": "provider_bridge",
    "blindrelay-ledger": "ledger",
}
LANDLOCK = "landlock_create_ruleset"
PATIENCE = 120
"""Seconds for a process to answer, or to end."""
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
def test_service_is_well_formed_and_exposes_little(unit: Path) -> None:
    """It is bounded, and has no terminal. Only the folders of the books and of Envoy are writable."""
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True)
    said = [line for line in done.stderr.splitlines() if unit.name in line]
    assert [line for line in said if "is not executable" not in line] == []
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(unit)]
    security = subprocess.run(command, capture_output=True, text=True).stdout
    assert float(security.partition("exposure level for")[2].split()[1]) <= MOST_EXPOSURE, security
    lines = unit.read_text().splitlines()
    names = {line.partition("=")[0] for line in lines}
    writable = {"ReadWritePaths", "StateDirectory", "CacheDirectory", "LogsDirectory", "RuntimeDirectory"}
    assert names & writable == WRITABLE.get(unit.name, set())
    assert "MemoryMax" in names
    assert {"DynamicUser=yes", "StandardInput=null", "LimitCORE=0", "ProtectSystem=strict"} <= set(lines)


def allowed_by(unit: Path) -> set[str]:
    """The system calls of its SystemCallFilter= lines, with groups expanded."""
    allowed: set[str] = set()
    for value in re.findall(r"^SystemCallFilter=(.*)$", unit.read_text(), re.MULTILINE):
        calls = {call for word in value.removeprefix("~").split() for call in members(word)}
        allowed = allowed - calls if value.startswith("~") else allowed | calls
    return allowed


def members(word: str) -> Iterator[str]:
    """The system calls of a group, or the call itself."""
    if not word.startswith("@"):
        yield word
        return
    command = ["systemd-analyze", "syscall-filter", word]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for line in listed.splitlines()[1:]:
        if name := line.partition("#")[0].strip():
            yield from members(name)


def confined(allowed: set[str], writable: Path | None = None) -> tuple[str, ...]:
    """What to put before a command that may only make these system calls, and write to one folder at most."""
    program = str(Path(__file__).with_name("under_unit.py"))
    return (sys.executable, program, ",".join(sorted(allowed)), "-" if writable is None else str(writable))


def documented(name: str) -> str:
    """The configuration in docs/operations.md whose first comment has that name."""
    block = OPERATIONS.partition(f"```toml\n# {name}")[2].partition("```")[0]
    assert block
    return f"# {block}"


def loaded(unit: Path) -> set[str]:
    return set(re.findall(r"^LoadCredential=([\w.-]+):/etc/blindrelay/\1$", unit.read_text(), re.MULTILINE))


class Machine:
    """The contents of /etc/blindrelay for both units, made with the commands of docs/operations.md."""

    def __init__(self, folder: Path) -> None:
        self._etc = folder / "etc"
        self._etc.mkdir()
        self._provider = provider_process("scripted", lambda: folder)
        self._ports = {RELAY: free_port(), BRIDGE: free_port()}
        token = self._issue("tokens", "alice")
        self._write("bridge-token", self._issue("relay-tokens", "relay-1"))
        self._write("openai-key", "sk-nothing")
        authority = trustme.CA()
        authority.cert_pem.write_to_path(self._etc / "bridges-ca.pem")
        for name in ("relay", "bridge"):
            certificate = authority.issue_cert("localhost")
            certificate.cert_chain_pems[0].write_to_path(self._etc / f"{name}.pem")
            self._write(f"{name}.key", certificate.private_key_pem.bytes().decode())
        identity_key = str(folder / "identity.key")
        public = _bridge("signing-key", "--out", str(self._etc / "signing.key"))
        self._identity = _bridge("identity", "--make", "--key", identity_key)
        query = f"bridge={self._identity}&ca={self._etc / 'bridges-ca.pem'}&history=off"
        self.connection = f"blindrelay://{token}@localhost:{self._ports[RELAY]}?{query}"
        delegation = ("--days", "30", "--out", str(self._etc / "delegation"))
        _bridge("delegate", "--key", identity_key, "--signing-key", public, *delegation)

    @contextmanager
    def provider(self) -> Iterator[None]:
        """Runs a provider during the block, and writes the configurations that lead to it."""
        assert self._provider is not None
        self._provider.start()
        try:
            self._configure(
                "bridge.toml",
                ("0.0.0.0:8490", f"127.0.0.1:{self._ports[BRIDGE]}"),
                ('identity_key = "identity.key"', 'signing_key = "signing.key"\ndelegation = "delegation"'),
                ('{ env = "OPENAI_API_KEY" }', '{ file = "openai-key" }'),
                ("http://127.0.0.1:8000", f"http://{self._provider.listening}"),
            )
            self._configure(
                "relay.toml",
                ("0.0.0.0:443", f"127.0.0.1:{self._ports[RELAY]}"),
                ("bridge-1.example:8490", f"localhost:{self._ports[BRIDGE]}"),
                ('identity = "br1…"', f'identity = "{self._identity}"'),
            )
            yield
        finally:
            self._provider.stop()

    @contextmanager
    def running(self, unit: Path, within: tuple[str, ...]) -> Iterator[subprocess.Popen[str]]:
        """The unit's ExecStart= after its doctor, as a user other than root, with only its credentials."""
        folder = self._etc.parent / unit.stem
        folder.mkdir(exist_ok=True)
        for name in loaded(unit):
            (folder / name).write_bytes((self._etc / name).read_bytes())
            (folder / name).chmod(0o400)
        start = unit.read_text().partition("ExecStart=")[2].partition("\n")[0]
        program, *arguments = start.replace("${CREDENTIALS_DIRECTORY}", str(folder)).split()
        command = [sys.executable, "-P", "-m", f"blindrelay.{MODULES[Path(program).name]}"]
        environment = {**os.environ, "CREDENTIALS_DIRECTORY": str(folder)}
        doctor = [*launcher(), *command, *("doctor", *arguments[arguments.index("--config") :])]
        examined = subprocess.run(doctor, env=environment, capture_output=True, text=True).stdout
        failed = [line for line in examined.splitlines() if line.startswith("FAILED")]
        others = [line for line in failed if "provider" not in line and line.split()[1] != "bridge"]
        assert others == [], "no network is needed for the rest"
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        served = [*within, *command, *arguments]
        with (
            (folder.parent / "inherited").open("w") as inherited,
            subprocess.Popen(  # type: ignore[call-overload]
                served, env=environment, text=True, pass_fds=[inherited.fileno()], **streams
            ) as process,
        ):
            try:
                yield process
            finally:
                process.terminate()

    def configure_ledger(self) -> None:
        """Writes its configuration, with a folder for its books."""
        state = self._etc.parent / "state"
        state.mkdir()
        state.chmod(0o777)  # its user is not ours
        self._issue("ledger-relays", "relay-1")
        self._configure(
            "ledger.toml",
            *((f"127.0.0.1:{port}", f"127.0.0.1:{free_port()}") for port in (8470, 8471, 8472)),
            ("/var/lib/blindrelay-ledger", str(state)),
            ("bridge-1.example:8490", f"localhost:{self._ports[BRIDGE]}"),
            ('identity = "br1…"', f'identity = "{self._identity}"'),
        )

    def _configure(self, name: str, *changes: tuple[str, str]) -> None:
        """Writes the documented configuration, with this machine's own values in it."""
        text = documented(name)
        for before, after in changes:
            assert before in text, before
            text = text.replace(before, after)
        self._write(name, text)

    def _issue(self, file: str, name: str) -> str:
        return issue_token(self._etc / file, name, datetime.now(UTC))

    def _write(self, name: str, text: str) -> None:
        (self._etc / name).write_text(text)
        (self._etc / name).chmod(0o600)


def said(process: subprocess.Popen[str], *words: str) -> None:
    """Reads what a process prints, until it has said all these words, in any order."""
    text = ""
    while missing := [each for each in words if each not in text]:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, f"it ended without {missing}: {text}"
        text += line


def _bridge(*arguments: str) -> str:
    command = [sys.executable, "-m", "blindrelay.provider_bridge", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.skipif(not landlock_version() and not os.environ.get("CI"), reason="no Landlock here")
@pytest.mark.parametrize(
    "within_units", [False, pytest.param(True, marks=[needs_systemd, can_confine])], ids=["free", "confined"]
)
def test_units_serve_with_the_documented_configurations(tmp_path: Path, within_units: bool) -> None:
    """The relay has two filters of system calls, and has given up the file that it inherited."""
    machine = Machine(tmp_path)
    bridges, relays = (confined(allowed_by(unit)) if within_units else launcher() for unit in (BRIDGE, RELAY))
    with machine.provider(), machine.running(BRIDGE, bridges) as bridge:
        said(bridge, "listens on")
        if within_units:
            with machine.running(RELAY, confined(allowed_by(RELAY) - {LANDLOCK})) as refused:
                assert "sandbox = true needs" in refused.communicate(timeout=PATIENCE)[0]
                assert refused.returncode == 1
        with machine.running(RELAY, relays) as relay:
            said(relay, "listens on", '"started"', '"replica_up"')
            assert is_confined(relay.pid)
            assert within_units or not is_confined(bridge.pid), "is_confined() can return false"
            assert os.geteuid() != 0 or not written_files_of(relay.pid)
            filters = Path(f"/proc/{relay.pid}/status").read_text()
            assert f"Seccomp_filters:\t{1 + within_units}" in filters
            with (
                SealedTransport(machine.connection) as sealed,
                sealed.httpx_client(timeout=PATIENCE) as client,
            ):
                assert client.get("https://models.example/v1/models").status_code == httpx.codes.OK


@pytest.mark.parametrize(
    "within_unit", [False, pytest.param(True, marks=[needs_systemd, can_confine])], ids=["free", "confined"]
)
def test_ledger_serves_with_the_documented_configuration(tmp_path: Path, within_unit: bool) -> None:
    machine = Machine(tmp_path)
    machine.configure_ledger()
    within = confined(allowed_by(LEDGER), tmp_path / "state") if within_unit else launcher()
    with machine.running(LEDGER, within) as ledger:
        said(ledger, "The ledger listens on", "Its page is http")
        config = str(tmp_path / LEDGER.stem / "ledger.toml")
        command = [sys.executable, "-m", "blindrelay.ledger", "account", "add", "alice", "--json"]
        added = subprocess.run([*command, "--config", config], check=True, capture_output=True, text=True)
        assert json.loads(added.stdout)["account"] == "alice"
