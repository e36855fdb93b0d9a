"""What other processes can see of relay and bridge processes."""

from __future__ import annotations

import asyncio
import os
import resource
import sys
from pathlib import Path

import pytest

from blindrelay.testbed import Testbed

PROVIDER = '[[provider]]\nname = "openai"\npreset = "openai"\n'
REPLICA = '[[replica]]\naddress = "127.0.0.1:1"\n'
CONFIGS = {
    "blindrelay.relay_node": 'listen = "127.0.0.1:0"\ntokens = "tokens"\n' + REPLICA,
    "blindrelay.provider_bridge": 'listen = "127.0.0.1:0"\nidentity_key = "identity.key"\n' + PROVIDER,
}
FEW_FILES = 128

# A process with this file on its path writes at its end whether it was dumpable.
WITNESS = """
import atexit, ctypes

def tell():
    with open("dumpable", "a") as file:
        file.write(str(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)))

atexit.register(tell)
"""

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="prctl(2) and /proc are Linux's")


@pytest.fixture
def witness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts the witness on the path of new processes."""
    (tmp_path / "sitecustomize.py").write_text(WITNESS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)


async def started(folder: Path, *arguments: str) -> asyncio.subprocess.Process:
    """A process with a low limit of open files."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return await asyncio.create_subprocess_exec(
        *("prlimit", f"--nofile={FEW_FILES}:{most}", sys.executable, *arguments),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )


def owner_of_memory(pid: int) -> int:
    return Path(f"/proc/{pid}/mem").stat().st_uid


@linux_only
@pytest.mark.usefixtures("witness")
@pytest.mark.parametrize(
    ("module", "options", "told"),
    [
        ("blindrelay.provider_bridge", (), "0"),
        ("blindrelay.relay_node", (), "0"),
        ("blindrelay.relay_node", ("--workers", "2"), "000"),
    ],
    ids=["bridge", "relay", "supervisor and workers"],
)
async def test_process_is_not_dumpable_and_may_open_files(
    tmp_path: Path, module: str, options: tuple[str, ...], told: str
) -> None:
    (tmp_path / "tokens").touch()
    (tmp_path / "part.toml").write_text(CONFIGS[module])
    command = ("-m", module, "serve", "--config", "part.toml", "--json", *options)
    process = await started(tmp_path, *command)
    assert process.stdout is not None
    assert b"listening" in await process.stdout.readline()
    allowed, most = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
    assert FEW_FILES < allowed == min(most, 65_536)
    assert owner_of_memory(process.pid) == 0, "not even its own user may read it"
    process.terminate()
    assert await process.wait() == 0
    assert (tmp_path / "dumpable").read_text() == told


@linux_only
@pytest.mark.usefixtures("witness")
async def test_witness_sees_a_dumpable_process(tmp_path: Path) -> None:
    assert await (await started(tmp_path, "-c", "pass")).wait() == 0
    assert (tmp_path / "dumpable").read_text() == "1"


def of_process(bed: Testbed, part: str, file: str, line: str) -> list[str]:
    """The words of a line of a file in /proc."""
    text = Path(f"/proc/{bed.pids[part]}/{file}").read_text()
    (found,) = (each.removeprefix(line) for each in text.splitlines() if each.startswith(line))
    return found.split()


@linux_only
@pytest.mark.parametrize("part", ["relay", "bridge"])
def test_no_core_dumps(scripted_bed: Testbed, part: str) -> None:
    """And what files there are, are for their user alone."""
    assert of_process(scripted_bed, part, "limits", "Max core file size")[:2] == ["0", "0"]
    assert of_process(scripted_bed, part, "status", "Umask:") == ["0077"]


@linux_only
@pytest.mark.skipif(os.geteuid() != 0, reason="only root sees the environment of what is not dumpable")
@pytest.mark.parametrize("part", ["relay", "bridge"])
def test_no_secret_is_in_arguments_or_environment(scripted_bed: Testbed, part: str) -> None:
    process = Path(f"/proc/{scripted_bed.pids[part]}")
    shown = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
    assert str(scripted_bed.folder).encode() in shown, "this is the part's command line"
    assert scripted_bed.token.encode() not in shown
    assert (scripted_bed.folder / "identity.key").read_bytes().strip() not in shown
