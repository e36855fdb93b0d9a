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
from typing import Any

import pytest

from ..conftest import ScriptedBridge
from .conftest import Run, walls_are_allowed

pytestmark = pytest.mark.usefixtures("to_bridge")

walled = pytest.mark.skipif(not walls_are_allowed(), reason="this machine allows no network namespaces")
with_node = pytest.mark.skipif(not shutil.which("node"), reason="Node is not installed")


class Outside:
    """Servers of this machine that no program behind the wall may reach."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._sockets: dict[str, socket.socket] = {}
        servers: list[tuple[str, int, int, Any]] = [
            ("tcp", socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
            ("tcp6", socket.AF_INET6, socket.SOCK_STREAM, ("::1", 0)),
            ("udp", socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
            ("unix", socket.AF_UNIX, socket.SOCK_STREAM, str(folder / "stream")),
            ("abstract", socket.AF_UNIX, socket.SOCK_STREAM, f"\0blindrelay-{os.getpid()}"),
            ("datagrams", socket.AF_UNIX, socket.SOCK_DGRAM, str(folder / "datagrams")),
        ]
        for name, family, kind, address in servers:
            server = stack.enter_context(socket.socket(family, kind))
            server.bind(address)
            if kind == socket.SOCK_STREAM:
                server.listen()
            server.setblocking(False)
            self._sockets[name] = server

    @property
    def addresses(self) -> dict[str, Any]:
        """By name; those of Unix sockets as text."""
        found = {name: server.getsockname() for name, server in self._sockets.items()}
        return {name: os.fsdecode(at) if isinstance(at, bytes) else at for name, at in found.items()}

    @property
    def descriptor(self) -> int:
        """Of one of them, in this process."""
        return self._sockets["tcp"].fileno()

    def reached(self) -> set[str]:
        """The names of those that somebody has connected or sent something to."""
        return {name for name, server in self._sockets.items() if self._was_reached(server)}

    @staticmethod
    def _was_reached(server: socket.socket) -> bool:
        try:
            if server.type == socket.SOCK_DGRAM:
                server.recv(100)
            else:
                server.accept()[0].close()
        except BlockingIOError:
            return False
        return True


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Outside]:
    with ExitStack() as stack:
        yield Outside(tmp_path, stack)


# Tries each address, and what reaches around a network namespace; prints what came of it.
TRY_EVERYTHING = """
import ctypes, errno, fcntl, json, os, socket, sys

addresses, outcome = json.loads(sys.argv[1]), {}

def attempt(name, way):
    try:
        way()
        outcome[name] = "done"
    except OSError as error:
        outcome[name] = errno.errorcode[error.errno]

def connect(family, address):
    with socket.socket(family) as each:
        each.settimeout(5)
        each.connect(tuple(address) if isinstance(address, list) else address)

def send(family, address):
    with socket.socket(family, socket.SOCK_DGRAM) as each:
        each.sendto(b"x", tuple(address) if isinstance(address, list) else address)

def send_by_a_pair():
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with one, other:
        one.sendto(b"x", addresses["datagrams"])

def fast_open():
    with socket.socket() as each:
        each.sendto(b"x", 0x20000000, tuple(addresses["tcp"]))

def call(number, *arguments):
    if ctypes.CDLL(None, use_errno=True).syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), "")

def join_a_network():
    descriptor = os.open(f"/proc/{os.environ['OUTSIDE']}/ns/net", os.O_RDONLY)
    call({"x86_64": 308}.get(os.uname().machine, 268), descriptor, 0x40000000)

def take_a_socket():
    call(438, os.pidfd_open(int(os.environ["OUTSIDE"])), int(os.environ["OUTSIDE_SOCKET"]), 0)

def type_a_command():
    fcntl.ioctl(0, 0x5412, b"x")

attempt("tcp", lambda: connect(socket.AF_INET, addresses["tcp"]))
attempt("tcp6", lambda: connect(socket.AF_INET6, addresses["tcp6"]))
attempt("udp", lambda: send(socket.AF_INET, addresses["udp"]))
attempt("unix", lambda: connect(socket.AF_UNIX, addresses["unix"]))
attempt("abstract", lambda: connect(socket.AF_UNIX, addresses["abstract"]))
attempt("datagrams", lambda: send(socket.AF_UNIX, addresses["datagrams"]))
attempt("a pair", send_by_a_pair)
attempt("fast open", fast_open)
attempt("far away", lambda: connect(socket.AF_INET, ("192.0.2.1", 443)))
attempt("far away, 6", lambda: connect(socket.AF_INET6, ("2001:db8::1", 443)))
attempt("DNS", lambda: send(socket.AF_INET, ("192.0.2.1", 53)))
attempt("packets", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
attempt("virtual machines", lambda: connect(40, (2, 1)))
attempt("io_uring", lambda: call(425, 1, ctypes.create_string_buffer(256)))
attempt("another network", join_a_network)
attempt("another's socket", take_a_socket)
attempt("typing", type_a_command)

def send_raw():
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP) as each:
        each.sendto(b"x" * 64, ("192.0.2.1", 0))

attempt("raw", send_raw)
print(json.dumps(outcome))
"""


def outcome_of(run: Run, outside: Outside, *options: str) -> dict[str, str]:
    program = [sys.executable, "-c", TRY_EVERYTHING, json.dumps(outside.addresses)]
    code, out, err = run("run", *options, "--", *program)
    assert (code, err) == (0, "")
    found: dict[str, str] = json.loads(out)
    return found


@walled
def test_wall_holds_every_kind_of_socket(run: Run, outside: Outside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTSIDE", str(os.getpid()))
    monkeypatch.setenv("OUTSIDE_SOCKET", str(outside.descriptor))
    found = outcome_of(run, outside, "--wall")
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


def test_without_a_wall_the_same_program_gets_out(
    run: Run, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUTSIDE", str(os.getpid()))
    monkeypatch.setenv("OUTSIDE_SOCKET", str(outside.descriptor))
    found = outcome_of(run, outside, "--no-wall")
    assert outside.reached() == {"tcp", "tcp6", "udp", "unix", "abstract", "datagrams"}
    assert found["a pair"] == "done"


@walled
def test_unix_sockets_are_allowed_when_asked_for(run: Run, outside: Outside) -> None:
    program = f"import socket; socket.socket(socket.AF_UNIX).connect({outside.addresses['unix']!r})"
    assert run("run", "--wall", "--unix-sockets", "--", sys.executable, "-c", program) == (0, "", "")
    assert outside.reached() == {"unix"}


@walled
def test_endpoint_behind_a_wall_is_unreachable_from_outside(run: Run, tmp_path: Path) -> None:
    """The program's token is of no use to other processes of this machine, not even of the same user."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    program = f'echo "$OPENAI_BASE_URL" > {fifo}; read _ < {fifo}'
    arguments = [sys.executable, "-m", "blindrelay.client", "run", "--wall", "--", "sh", "-c", program]
    with subprocess.Popen(arguments) as process:
        port = int(fifo.read_text().split(":")[2].split("/")[0])
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        fifo.write_text("go on\n")
        assert process.wait(30) == 0


def test_missing_wall_is_reported(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    code, out, err = run("run", "--", "echo", "hello")
    assert (code, out) == (0, "hello\n")
    assert err.startswith(
        "blindrelay: warning: only Linux has a wall for programs, so a program that ignores"
    )
    assert err.count("\n") == 1
    assert run("run", "--no-wall", "--", "echo", "hello") == (0, "hello\n", "")
    assert run("run", "--wall", "--", "echo", "hello") == (
        2,
        "",
        "blindrelay: --wall: only Linux has a wall for programs\n",
    )


@walled
def test_kernel_that_refuses_namespaces_is_reported(run: Run) -> None:
    """In a user namespace that may make no others: as where an administrator forbids them."""
    forbid = 'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"'
    blindrelay = [sys.executable, "-m", "blindrelay.client", "run"]
    outer = ["unshare", "--user", "--map-root-user", "sh", "-c", forbid, "sh", *blindrelay]
    done = subprocess.run([*outer, "--", "echo", "hello"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "hello\n")
    assert "this machine does not allow network namespaces (No space left on device)" in done.stderr
    done = subprocess.run([*outer, "--wall", "echo"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")


NODE_WAYS = """
import dgram from "node:dgram";
import http from "node:http";
import http2 from "node:http2";
import https from "node:https";
import net from "node:net";
import tls from "node:tls";
import { Worker, isMainThread } from "node:worker_threads";

const host = "192.0.2.1";
const failure = (emitter) => new Promise((done) => emitter.once("error", (error) => done(error.message)));
const udp = dgram.createSocket("udp4");
const ways = {
  fetch: () => fetch(`https://${host}/`).catch((error) => error.cause.message),
  https: () => failure(https.get(`https://${host}/`)),
  http: () => failure(http.get({ host, path: "/" })),
  http2: () => failure(http2.connect(`https://${host}`)),
  net: () => failure(net.connect(443, host)),
  net6: () => failure(net.connect({ host: "2001:db8::1", port: 443 })),
  tls: () => failure(tls.connect({ host, port: 443 })),
  udp: () => new Promise((done, fail) => udp.send("x", 53, host, fail)).catch((error) => error.message),
  udpNumber: () =>
    new Promise((done, fail) => udp.send("x", 0, 1, 53, "3221225985", fail)).catch((error) => error.message),
};
const found = {};
for (const [name, way] of Object.entries(ways)) found[name] = await way();
udp.close();
if (isMainThread) {
  console.log(JSON.stringify(found));
  for (const options of [{}, { env: {} }, { env: { NODE_OPTIONS: "--no-warnings" }, execArgv: [] }]) {
    await new Promise((done) => new Worker(new URL(import.meta.url), options).once("exit", done));
  }
} else {
  console.log(JSON.stringify(found));
}
"""


@with_node
def test_node_is_held_without_a_wall(run: Run, tmp_path: Path) -> None:
    """Its own clients look at no proxy variable; in worker threads they are held too."""
    script = tmp_path / "script with spaces.mjs"
    script.write_text(NODE_WAYS)
    code, out, err = run("run", "--no-wall", "--", "node", script)
    assert code == 0
    here, *workers = map(json.loads, out.splitlines())
    assert workers == [here] * 3
    assert set(here.values()) == {
        "not sealed: 192.0.2.1",
        "not sealed: 2001:db8::1",
        "not sealed: 3221225985",  # what resolvers take for 192.0.2.1
    }
    assert err == "blindrelay: refused because not sealed: 192.0.2.1 (24), [2001:db8::1] (4)\n"


def test_endpoint_is_reachable_through_its_own_proxy(to_bridge: ScriptedBridge, run: Run) -> None:
    """For programs that send everything through their proxy, loopback too: CONNECT, and absolute URLs."""
    program = (
        "curl -sS --noproxy '' $WAY -H \"authorization: Bearer $OPENAI_API_KEY\" $OPENAI_BASE_URL/models"
    )
    for way in ("--proxytunnel", "--no-proxytunnel"):
        script = program.replace("$WAY", way)
        assert run("run", "--no-wall", "--", "sh", "-c", script) == (0, "{}", "")
    assert len(to_bridge.received) == 2


@walled
def test_token_is_in_no_command_line(run: Run) -> None:
    program = "cat /proc/$PPID/cmdline /proc/self/cmdline; echo $OPENAI_API_KEY"
    code, out, err = run("run", "--wall", "--", "sh", "-c", program)
    assert (code, err) == (0, "")
    assert out.count("brl_") == 1


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
