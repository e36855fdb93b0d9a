"""Prints constraints.txt with the oldest release that pyproject.toml allows of what users install."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXTRAS = ("client", "bridge", "proxy", "relay", "metrics")


def floors() -> dict[str, str]:
    """The lower bounds of what users install, by normalised name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *(each for extra in EXTRAS for each in project["optional-dependencies"][extra]),
    ]
    bounds = (re.fullmatch(r"([A-Za-z0-9-]+)>=([0-9.]+)", requirement) for requirement in wanted)
    return {spelt(bound[1]): bound[2] for bound in bounds if bound}


def spelt(name: str) -> str:
    """Normalises a name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def main() -> None:
    pinned = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split())
    oldest = {spelt(name): version for name, version in pinned.items()} | floors()
    sys.stdout.writelines(f"{name}=={version}\n" for name, version in sorted(oldest.items()))


if __name__ == "__main__":
    main()
