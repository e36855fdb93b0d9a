"""In the sandbox each documented escape is refused, and a relay serves. Outside, escapes work."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import platform
import pty
import re
import subprocess
import sys
import tempfile
import threading
from functools import cache
from pathlib import Path

import pytest

from blindrelay.serving import Needs, StartError, enter_sandbox
from blindrelay.serving.landlock import landlock_version, restrict
from blindrelay.serving.seccomp import MACHINES, NUMBERS, forbid_processes
from blindrelay.testbed.unprivileged import launcher
from tests.relay_node.raw_client import CONFIG

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="seccomp(2) and memfd need Linux")
needs_landlock = pytest.mark.skipif(
    not landlock_version() and not os.environ.get("CI"), reason="no Landlock here"
)

PAGE = (Path(__file__).parents[2] / "docs/sandbox.md").read_text()
TABLE = dict(re.findall(r"^\| ([^|]+?) \| ((?:no such call|argument|Landlock)[^|]*?) \|$", PAGE, re.M))
"""Each escape, and what refuses it."""

ATTEMPTS = Path(__file__).with_name("attempts.py")
ALLOWED = {"read", "list", "listen", "connect", "pair", "listen without choosing"}
PORTS = {"connect to another port", "choose another port to listen on"}
"""Refused by Landlock since Linux 6.7."""

MACHINE_MAY_REFUSE = {
    *("set inode flags", "set an inode version", "set a project", "set attributes by file_setattr"),
    *("type into a terminal", "use a keyring", "make an io_uring", "make a namespace", "use multipath TCP"),
    *("read memory of a process", "write memory of a process", "open memory of a process"),
    *("trace a process", "open AF_PACKET", "open AF_VSOCK", "open a raw socket", "open a ping socket"),
    *("set the host's name", "set the clock", "mount", "change the root", "become another user"),
    *("load a BPF program", "count performance", "read the kernel's log", "change a scheduler"),
}
"""These may fail outside the sandbox too, for lack of rights or support, or by a setting of the kernel."""


@cache
def outcomes(mode: str) -> dict[str, str]:
    """The outcome of each attempt by its name, as an unprivileged user."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder, "work")
        work.mkdir()
        command = [*launcher(), sys.executable, str(ATTEMPTS), mode, str(work)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100)
    return dict(line.split(": ") for line in done.stdout.splitlines())


@needs_landlock
@pytest.mark.parametrize("escape", TABLE)
def test_escape_is_refused(escape: str) -> None:
    if escape in PORTS and landlock_version() < 4:
        pytest.skip("needs Linux 6.7")
    assert outcomes("confined")[escape] == "refused"


@linux_only
@pytest.mark.parametrize("escape", [name for name in TABLE if name not in MACHINE_MAY_REFUSE])
def test_escape_works_outside(escape: str) -> None:
    assert outcomes("free")[escape] in ("done", "ENOENT", "EADDRINUSE")


@needs_landlock
def test_the_table_is_complete_and_serving_is_allowed() -> None:
    confined = outcomes("confined")
    assert confined.keys() == TABLE.keys() | ALLOWED
    assert {name for name in ALLOWED if confined[name] != "done"} == set()


@pytest.mark.parametrize("name", MACHINES)
def test_numbers_equal_those_of_libseccomp(name: str) -> None:
    library = ctypes.util.find_library("seccomp")
    if library is None:
        pytest.skip("no libseccomp here")
    resolve = ctypes.CDLL(library).seccomp_syscall_resolve_name_arch
    machine = MACHINES[name]
    theirs = {call: resolve(machine.audit, call.encode()) for call in NUMBERS}
    ours = {call: numbers[machine.column] for call, numbers in NUMBERS.items()}
    assert ours == {call: number if number >= 0 else None for call, number in theirs.items()}


def test_machine_that_cannot_confine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(StartError, match="riscv64"):
        forbid_processes()
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(StartError, match="Landlock"):
        restrict((), (), ())


@linux_only
def test_other_threads_are_an_error() -> None:
    """They would stay outside the sandbox."""
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    try:
        with pytest.raises(StartError, match="other threads"):
            enter_sandbox(Needs((), (), ()))
    finally:
        over.set()
        thread.join()


RELAY = [sys.executable, "-m", "blindrelay.relay_node"]


@pytest.fixture
def serve(tmp_path: Path) -> list[str]:
    """The arguments of a relay in the sandbox, whose bridge is not running."""
    (tmp_path / "tokens").touch(mode=0o600)
    file = tmp_path / "relay.toml"
    file.write_text(CONFIG.format(port=0, bridge=1, options="sandbox = true"))
    return ["serve", "--config", str(file)]


@needs_landlock
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be refused for being root")
def test_root_is_refused_with_advice(serve: list[str]) -> None:
    done = subprocess.run([*RELAY, *serve], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "does not run as root" in done.stderr
    assert "DynamicUser=yes" in done.stderr


@needs_landlock
@pytest.mark.parametrize("descriptor", [0, 1, 2])
def test_terminal_is_refused_with_advice(serve: list[str], descriptor: int) -> None:
    ours, terminal = pty.openpty()
    streams: list[int] = [subprocess.DEVNULL, subprocess.PIPE, subprocess.PIPE]
    streams[descriptor] = terminal
    command = [*launcher(), *RELAY, *serve]
    with subprocess.Popen(command, stdin=streams[0], stdout=streams[1], stderr=streams[2]) as relay:
        os.close(terminal)
        said = os.read(ours, 4_096) if relay.stderr is None else relay.stderr.read()
        assert relay.wait(60) == 1
    os.close(ours)
    assert b"</dev/null 2>&1 | cat" in said


LEAVE = """
import os, sys
from blindrelay.serving.sandbox import leave_terminal
leave_terminal()
os.write(int(sys.argv[1]), b"loot")
"""


@needs_landlock
def test_inherited_descriptors_are_closed(tmp_path: Path) -> None:
    file = tmp_path / "inherited"
    with file.open("wb") as inherited:
        command = [*launcher(), sys.executable, "-c", LEAVE, str(inherited.fileno())]
        streams = {"stdin": subprocess.DEVNULL, "capture_output": True, "pass_fds": [inherited.fileno()]}
        said = subprocess.run(command, **streams).stderr  # type: ignore[call-overload]
    assert b"Bad file descriptor" in said
    assert file.read_bytes() == b""
