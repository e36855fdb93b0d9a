"""What runs here is what docs/compatibility.md says the versions of."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Final

SDKS: Final = Path(__file__).parents[1]
NPM: Final = SDKS.parents[1] / ".npm" / "sdks" / "node_modules"


def test_the_packages_are_the_pinned_ones() -> None:
    """If not: remove .venv-sdks."""
    pinned = dict(line.split("==") for line in (SDKS / "constraints.txt").read_text().splitlines())
    assert {name: version(name) for name in pinned} == pinned


def test_the_packages_of_npm_are_the_pinned_ones() -> None:
    """If not: remove .npm."""
    pinned = json.loads((SDKS / "package.json").read_text())["dependencies"]
    installed = {name: json.loads((NPM / name / "package.json").read_text())["version"] for name in pinned}
    assert installed == pinned
