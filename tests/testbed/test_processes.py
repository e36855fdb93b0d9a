"""Parts as processes: announced, restarted in place, shown when they die, and gone with their parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import pytest

from blindrelay.testbed import PartDiedError, PartNotReadyError
from blindrelay.testbed.processes import KEPT_LINES, PartProcess
from tests.patience import PATIENCE

LISTENING = """
import signal, sys
print("last words", file=sys.stderr)
print('{"listening": "here"}', flush=True)
signal.pause()
"""


def _is_gone(pid: int) -> bool:
    """Whether a process has ended, within PATIENCE."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
            ended = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except (ProcessLookupError, FileNotFoundError):
            return True
        if ended:
            return True
        time.sleep(0.01)
    return False


def _module(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> PartProcess:
    """A part that runs a module written on the spot."""
    (folder / "part_of_a_test.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
    return PartProcess("part", "part_of_a_test", list)


def test_part_is_stopped_killed_and_started_again_at_its_address(sleeper: PartProcess) -> None:
    pid, address = sleeper.pid, sleeper.listening
    sleeper.restart()
    assert _is_gone(pid)
    assert httpx2.get(f"http://{address}/health", timeout=PATIENCE).json() == {"status": "ok"}
    sleeper.stop()
    assert sleeper.exit_code == -signal.SIGTERM
    sleeper.start()
    sleeper.kill()
    assert sleeper.exit_code == -signal.SIGKILL
    assert not sleeper.is_running
    sleeper.kill()


def test_death_of_a_part_is_reported_with_its_last_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = _module(tmp_path, monkeypatch, LISTENING)
    part.start()
    part.check()
    os.kill(part.pid, signal.SIGKILL)
    assert _is_gone(part.pid)
    with pytest.raises(PartDiedError, match="part ended by signal 9; its last lines:\nlast words"):
        part.check()
    part.stop()


PRINTING = "import sys\nfor n in range(5000): print('line', n, 'x' * 9999, file=sys.stderr)\nsys.exit(3)"


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("import sys\nsys.exit('why')", PartDiedError, "ended with exit code 1; its last lines:\nwhy"),
        (PRINTING, PartDiedError, "exit code 3(.|\n)*line 4999"),
        ("print('hello')", PartNotReadyError, "printed: hello"),
    ],
    ids=["dies", "prints much", "announces nothing"],
)
def test_part_that_does_not_listen_is_an_error(
    text: str, error: type[Exception], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = _module(tmp_path, monkeypatch, text)
    with pytest.raises(PartNotReadyError, match="not started"):
        _ = part.pid
    with pytest.raises(error, match=words):
        part.start()
    assert len(part.stderr) <= KEPT_LINES * 2_000
    part.kill()


def test_parts_end_when_their_parent_is_killed() -> None:
    script = (
        "import os, signal\n"
        "from blindrelay.testbed.processes import PartProcess\n"
        "part = PartProcess('provider', 'blindrelay.testbed.scripted_provider', list)\n"
        "part.start()\n"
        "print(part.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    parent = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, check=False)
    assert parent.returncode == -signal.SIGKILL
    assert _is_gone(int(parent.stdout))
