"""In the sandbox nothing is written and nothing run: tried from inside, and with the real relay."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import platform
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from blindrelay.client import SealedTransport
from blindrelay.serving import StartError, forbid_writing_and_programs
from blindrelay.serving.system_calls import MACHINES, refuse_system_calls
from blindrelay.testbed import Testbed
from blindrelay.testbed.evidence.traces import is_confined, written_files_of

HAS_LANDLOCK = sys.platform == "linux" and ctypes.CDLL(None).syscall(444, None, 0, 1) >= 1
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="seccomp(2) and memfd are Linux's")
needs_landlock = pytest.mark.skipif(not HAS_LANDLOCK and not os.environ.get("CI"), reason="no Landlock here")

ATTEMPTS = Path(__file__).with_name("attempts.py")
ALLOWED = {"read", "listen", "look up", "pair"}
ONLY_WITH_MORE_RIGHTS = {"keyring", "ring", "memory of another", "AF_PACKET"}
"""What the kernel may refuse to a process outside the sandbox, too."""


def outcomes(mode: str, folder: Path) -> dict[str, str]:
    """What came of each attempt, by its name."""
    command = [sys.executable, str(ATTEMPTS), mode, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {name: outcome for name, _, outcome in (line.rpartition(" ") for line in done.stdout.splitlines())}


@needs_landlock
def test_what_is_refused_and_what_is_not(tmp_path: Path) -> None:
    found = outcomes("confined", tmp_path)
    unsupported = {"AF_UNIX", "AF_NETLINK", "AF_PACKET"}
    assert {name for name in found if found[name] == "done"} == ALLOWED
    assert {name for name in found if found[name] == "unsupported"} == unsupported
    assert found.pop("shm removed") == "ENOENT", "it could not be made"
    assert {name for name in found if found[name] != "refused"} == ALLOWED | unsupported
    assert [path.name for path in tmp_path.iterdir()] == ["before"]


@linux_only
def test_outside_the_sandbox_the_same_attempts_succeed(tmp_path: Path) -> None:
    found = outcomes("free", tmp_path)
    assert {name for name in found if found[name] != "done"} <= ONLY_WITH_MORE_RIGHTS
    assert {"run from memory", "shared memory", "attribute", "AF_UNIX"} <= found.keys()


@pytest.mark.parametrize("name", MACHINES)
def test_the_numbers_are_those_of_libseccomp(name: str) -> None:
    library = ctypes.util.find_library("seccomp")
    if library is None:
        pytest.skip("no libseccomp here")
    resolve = ctypes.CDLL(library).seccomp_syscall_resolve_name_arch
    machine = MACHINES[name]
    theirs = {call: resolve(machine.audit, call.encode()) for call in (*machine.refused, "socket")}
    known = {call: number for call, number in theirs.items() if number >= 0}
    ours = {**machine.refused, "socket": machine.socket}
    assert known == {call: ours[call] for call in known}
    assert {"execve", "execveat", "fsetxattr", "shmget", "io_uring_setup", "socket"} <= known.keys()


def test_on_another_processor_it_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(StartError, match="riscv64"):
        refuse_system_calls()


INTRUDER = """
import subprocess, sys
from blindrelay.relay_node import records
def intrude(self, event, replica=None):
    try:
        open(sys.argv[1], "w")
    except PermissionError:
        print("write refused", file=sys.stderr, flush=True)
    try:
        subprocess.run(["true"])
    except PermissionError:
        print("run refused", file=sys.stderr, flush=True)
records.Records.event = intrude
from blindrelay.relay_node.cli import main
sys.argv[1:], arguments = sys.argv[1:2], sys.argv[2:]
sys.exit(main(arguments))
"""


@needs_landlock
def test_a_relay_that_was_taken_over_writes_nothing_and_runs_nothing(tmp_path: Path) -> None:
    """The real relay, in its sandbox, with somebody else's code in the place of its records."""
    (tmp_path / "tokens").touch(mode=0o600)
    config = tmp_path / "relay.toml"
    config.write_text(
        'listen = "127.0.0.1:0"\ntokens = "tokens"\nsandbox = true\n[[replica]]\naddress = "127.0.0.1:1"\n'
    )
    command = [sys.executable, "-c", INTRUDER, str(tmp_path / "loot"), "serve", "--config", str(config)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as relay:
        assert relay.stderr is not None
        said = {relay.stderr.readline().strip(), relay.stderr.readline().strip()}
        relay.kill()
    assert said == {"write refused", "run refused"}
    assert not (tmp_path / "loot").exists()


@needs_landlock
def test_a_sandboxed_relay_serves() -> None:
    """And from outside: each of its threads is confined, and nothing is open that could be written to."""
    with Testbed("scripted", relay_options={"sandbox": True}) as bed:
        with SealedTransport(bed.relay) as sealed, sealed.httpx_client() as client:
            assert client.get("https://api.openai.com/v1/models").status_code == httpx.codes.OK
        assert is_confined(bed.pids["relay"])
        assert not is_confined(bed.pids["bridge"]), "the question can be answered with no"
        if os.geteuid() == 0:
            assert not written_files_of(bed.pids["relay"])


def test_without_landlock_it_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(StartError, match="Landlock"):
        forbid_writing_and_programs()
