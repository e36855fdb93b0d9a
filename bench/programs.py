"""Other people's programs that are measured beside ours: where they are, and how to get a missing one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.chain import ROOT, UnavailableError


@dataclass(frozen=True)
class Program:
    """A program by name; `find` gives its path or None, and `install` is the command that brings it."""

    name: str
    find: Callable[[], str | None]
    install: str

    def path(self) -> str:
        """Where it is. Raises UnavailableError if it is not installed."""
        found = self.find()
        if found is None:
            raise UnavailableError(f"{self.name} is not installed (run: {self.install})")
        return found


PEERS: Final = ROOT / ".venv-peers" / "bin"
"""Where `make bench` installs what comes from a package index."""


def _in_folder(folder: Path, name: str) -> Callable[[], str | None]:
    binary = folder / name
    return lambda: str(binary) if binary.exists() else None


ENVOY: Final = Program("Envoy", _in_folder(PEERS, "envoy"), "make .venv-peers/ready")
LITELLM: Final = Program(
    "LiteLLM", _in_folder(ROOT / ".venv-litellm" / "bin", "litellm"), "make .venv-litellm/ready"
)
NGINX: Final = Program(
    "nginx",
    lambda: shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin"),
    "apt-get install nginx-light",
)


def missing() -> list[str]:
    """A sentence for each program that is not installed."""
    sentences = []
    for program in (ENVOY, NGINX, LITELLM):
        try:
            program.path()
        except UnavailableError as reason:
            sentences.append(f"Not measured: {reason}")
    return sentences
