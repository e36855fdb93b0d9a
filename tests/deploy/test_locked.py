"""The locks of deploy/locked/ fit pyproject.toml, are complete and hashed, and name no host."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
DEPENDENCIES = PROJECT["project"]["dependencies"]
EXTRAS = PROJECT["project"]["optional-dependencies"]
ASKED: dict[str, list[str]] = {
    **{name: DEPENDENCIES + EXTRAS[name] for name in ("relay", "bridge", "client", "metrics")},
    "build": PROJECT["build-system"]["requires"],
}
"""The requirements of each lock file."""

ENTRY = re.compile(r"^([\w.-]+)==(\S+)((?: \\\n    --hash=sha256:[0-9a-f]{64})+)\n", re.MULTILINE)


def text(name: str) -> str:
    return (ROOT / f"deploy/locked/{name}.txt").read_text()


def locked(name: str) -> dict[str, str]:
    return {canonicalize_name(package): version for package, version, _ in ENTRY.findall(text(name))}


def needed(asked: list[str]) -> list[Requirement]:
    """The requirements and their requirements, by the metadata of the packages installed here."""
    found: dict[str, Requirement] = {}
    left = [(Requirement(each), {""}) for each in asked]
    while left:
        requirement, extras = left.pop()
        marker = requirement.marker
        applies = marker is None or any(marker.evaluate({"extra": extra}) for extra in extras)
        if applies and str(requirement) not in found:
            found[str(requirement)] = requirement
            below = requires(requirement.name) or ()
            left += [(Requirement(each), {"", *requirement.extras}) for each in below]
    return list(found.values())


@pytest.mark.parametrize("name", ASKED)
def test_lock_is_complete_and_fits(name: str) -> None:
    versions = locked(name)
    for requirement in needed(ASKED[name]):
        version = versions[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), requirement


@pytest.mark.parametrize("name", ASKED)
def test_lock_has_hashes_of_the_tested_versions_and_names_no_host(name: str) -> None:
    left = ENTRY.sub("", text(name))
    assert [line for line in left.splitlines() if not line.lstrip().startswith("#")] == []
    assert not re.search(r"://|--index|--find|--trusted|\.org\b|\.com\b|\.io\b|@", text(name))
    pinned = re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert locked(name).items() <= {(canonicalize_name(package), version) for package, version in pinned}


def test_build_backend_is_pinned() -> None:
    (backend,) = PROJECT["build-system"]["requires"]
    assert backend == f"hatchling=={locked('build')['hatchling']}"
