"""In the sandbox nothing is written and nothing run: tried from inside, and with the real relay."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

from blindrelay.serving import StartError, forbid_writing_and_programs
from blindrelay.testbed import Testbed

HAS_LANDLOCK = sys.platform == "linux" and ctypes.CDLL(None).syscall(444, None, 0, 1) >= 1
needs_landlock = pytest.mark.skipif(not HAS_LANDLOCK and not os.environ.get("CI"), reason="no Landlock here")

TRIED = """
import os, socket, subprocess, sys, threading
folder = sys.argv[1]
open(folder + "/before", "w").close()
from blindrelay.serving import forbid_writing_and_programs
forbid_writing_and_programs()
def attempt(name, act):
    try:
        act()
    except PermissionError:
        print(name, "refused", flush=True)
    else:
        print(name, "done", flush=True)
attempt("write", lambda: open(folder + "/before", "w"))
attempt("append", lambda: open(folder + "/before", "a"))
attempt("make", lambda: open(folder + "/after", "x"))
attempt("folder", lambda: os.mkdir(folder + "/below"))
attempt("remove", lambda: os.remove(folder + "/before"))
attempt("rename", lambda: os.rename(folder + "/before", folder + "/after"))
attempt("link", lambda: os.symlink("x", folder + "/link"))
attempt("socket", lambda: socket.socket(socket.AF_UNIX).bind(folder + "/socket"))
attempt("run", lambda: subprocess.run([sys.executable, "-c", ""]))
attempt("shm", lambda: open("/dev/shm/blindrelay-test", "w"))
thread = threading.Thread(target=lambda: attempt("thread", lambda: open(folder + "/after", "w")))
thread.start(); thread.join()
attempt("read", lambda: open(folder + "/before").read())
attempt("connect", lambda: socket.create_server(("127.0.0.1", 0)).close())
"""


@needs_landlock
def test_what_is_refused_and_what_is_not(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TRIED, str(tmp_path)], capture_output=True, text=True, check=True
    )
    outcomes = dict(line.split() for line in done.stdout.splitlines())
    refused = {name for name, outcome in outcomes.items() if outcome == "refused"}
    writing = {"write", "append", "make", "folder", "remove", "rename", "link", "socket"}
    assert refused == {*writing, "run", "shm", "thread"}
    assert {name for name in outcomes if outcomes[name] == "done"} == {"read", "connect"}
    assert [path.name for path in tmp_path.iterdir()] == ["before"]


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
    import httpx

    from blindrelay.client import SealedTransport

    with Testbed("scripted", relay_options={"sandbox": True}) as bed:
        status = Path("/proc", str(bed.pids["relay"]), "status").read_text()
        assert "NoNewPrivs:\t1" in status
        with SealedTransport(bed.relay) as sealed, sealed.httpx_client() as client:
            assert client.get("https://api.openai.com/v1/models").status_code == httpx.codes.OK


def test_without_landlock_it_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(StartError, match="Landlock"):
        forbid_writing_and_programs()
