"""What the wall of `blindrelay run` holds, and what the level without a wall does."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.patience import PATIENCE

from .conftest import Run, command, refused, succeeded, walls_are_allowed
from .outside import TRY_EVERYTHING, Outside

pytestmark = pytest.mark.usefixtures("to_bridge")

walled = pytest.mark.skipif(not walls_are_allowed(), reason="this machine allows no network namespaces")
with_node = pytest.mark.skipif(not shutil.which("node"), reason="Node is not installed")


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Outside]:
    with ExitStack() as stack:
        yield Outside(tmp_path, stack)


def outcome_of(run: Run, outside: Outside, option: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    for name, value in outside.environment.items():
        monkeypatch.setenv(name, value)
    program = [sys.executable, "-c", TRY_EVERYTHING, json.dumps(outside.addresses)]
    out = succeeded(run, "run", option, "--", *program)
    found: dict[str, str] = json.loads(out)
    return found


@walled
def test_wall_holds_every_kind_of_socket(run: Run, outside: Outside, monkeypatch: pytest.MonkeyPatch) -> None:
    found = outcome_of(run, outside, "--wall", monkeypatch)
    assert outside.reached() == set()
    # The program has a loopback of its own: a datagram to nobody there is sent, and lost.
    assert {found.pop("tcp"), found.pop("tcp6"), found.pop("fast open")} == {"ECONNREFUSED"}
    assert found.pop("udp") == "done"
    assert {found[name] for name in ("far away", "far away, 6", "DNS")} == {"ENETUNREACH"}
    assert found["raw"] in ("ENETUNREACH", "EPERM")  # EPERM for users other than root
    unknown_family = ("unix", "abstract", "datagrams", "a pair", "packets", "virtual machines")
    assert {found[name] for name in unknown_family} == {"EAFNOSUPPORT"}
    assert (found["io_uring"], found["typing"]) == ("ENOSYS", "EPERM")
    assert {found["another network"], found["another's socket"]} <= {"EPERM", "EACCES"}


def test_without_a_wall_it_gets_out(run: Run, outside: Outside, monkeypatch: pytest.MonkeyPatch) -> None:
    found = outcome_of(run, outside, "--no-wall", monkeypatch)
    assert outside.reached() == {"tcp", "tcp6", "udp", "unix", "abstract", "datagrams"}
    assert found["a pair"] == "done"


@walled
def test_unix_sockets_are_allowed_when_asked_for(run: Run, outside: Outside) -> None:
    program = f"import socket; socket.socket(socket.AF_UNIX).connect({outside.addresses['unix']!r})"
    assert run("run", "--wall", "--unix-sockets", "--", sys.executable, "-c", program) == (0, "", "")
    assert outside.reached() == {"unix"}


@walled
def test_endpoint_behind_a_wall_is_unreachable_from_outside(tmp_path: Path) -> None:
    """Other processes of this machine cannot use the program's token, nor see it in a command line."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    lines = "cat /proc/$PPID/cmdline /proc/self/cmdline"
    program = f'echo "$OPENAI_BASE_URL" "$OPENAI_API_KEY" $({lines} | tr "\\0" " ") > {fifo}; read _ < {fifo}'
    process = command("run", "--wall", "--", "sh", "-c", program)
    told = fifo.read_text()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(told.split(":")[2].split("/")[0])))
    fifo.write_text("go on\n")
    assert process.communicate(timeout=PATIENCE) == (b"", b"")
    assert told.count("brl_") == 1


def test_missing_wall_is_reported(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    missing = "only Linux has a wall for programs"
    code, out, err = run("run", "--", "echo", "hello")
    assert (code, out, err.count("\n")) == (0, "hello\n", 1)
    assert err.startswith(f"blindrelay: warning: {missing}, so a program that ignores")
    assert run("run", "--no-wall", "--", "echo", "hello") == (0, "hello\n", "")
    assert refused(run, "run", "--wall", "--", "echo", "hello") == f"blindrelay: --wall: {missing}\n"


@walled
def test_kernel_that_refuses_namespaces_is_reported() -> None:
    """In a user namespace that may make no others: as where an administrator forbids them."""
    forbid = 'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"'
    blindrelay = [sys.executable, "-m", "blindrelay.client", "run"]
    outer = ["unshare", "--user", "--map-root-user", "sh", "-c", forbid, "sh", *blindrelay]
    for option, ended in [("--", (0, "hello\n")), ("--wall", (2, ""))]:
        done = subprocess.run([*outer, option, "echo", "hello"], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == ended
        assert "this machine does not allow network namespaces (No space left on device)" in done.stderr


@with_node
def test_node_is_held_without_a_wall(run: Run, tmp_path: Path) -> None:
    """Its own clients look at no proxy variable; in worker threads they are held too."""
    script = tmp_path / "script with spaces.mjs"
    script.write_text(Path(__file__).with_name("node_ways.mjs").read_text())
    code, out, err = run("run", "--no-wall", "--", "node", script)
    here, *workers = map(json.loads, out.splitlines())
    assert (code, workers) == (0, [here] * 3)
    hosts = ("192.0.2.1", "2001:db8::1", "3221225985")  # the last is what resolvers take for the first
    assert set(here.values()) == {f"not sealed: {host}" for host in hosts}
    assert err == "blindrelay: refused because not sealed: 192.0.2.1 (24), [2001:db8::1] (4)\n"


@pytest.mark.parametrize("way", ["--proxytunnel", "--no-proxytunnel"])
def test_endpoint_is_reachable_through_its_own_proxy(way: str, run: Run) -> None:
    """For programs that send everything through their proxy, loopback too: CONNECT, and absolute URLs."""
    ask = f"curl -sS --noproxy '' {way} -H \"authorization: Bearer $OPENAI_API_KEY\" $OPENAI_BASE_URL/models"
    assert run("run", "--no-wall", "--", "sh", "-c", ask) == (0, "{}", "")


ASK_WITH_NODE = """
const headers = { authorization: `Bearer ${process.env.OPENAI_API_KEY}` };
const models = await fetch(`${process.env.OPENAI_BASE_URL}/models`, { headers });
console.log(models.status, Error.stackTraceLimit);
"""


@with_node
@pytest.mark.parametrize("option", [pytest.param("--wall", marks=walled), "--no-wall"])
def test_node_reaches_the_endpoint(run: Run, monkeypatch: pytest.MonkeyPatch, option: str) -> None:
    """With its own NODE_OPTIONS."""
    monkeypatch.setenv("NODE_OPTIONS", "--stack-trace-limit=3")
    arguments = ("node", "--input-type=module", "-e", ASK_WITH_NODE)
    assert run("run", option, "--", *arguments) == (0, "200 3\n", "")
