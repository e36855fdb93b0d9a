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
EXTRAS = PROJECT["project"]["optional-dependencies"]
ASKED: dict[str, list[str]] = {
    **{
        name: PROJECT["project"]["dependencies"] + EXTRAS[name]
        for name in ("relay", "bridge", "client", "metrics")
    },
    "build": PROJECT["build-system"]["requires"],
}
"""The requirements of each lock file."""

ENTRY = re.compile(r"^([\w.-]+)==(\S+)((?: \\\n    --hash=sha256:[0-9a-f]{64})+)\n", re.MULTILINE)


def text(name: str) -> str:
    return (ROOT / f"deploy/locked/{name}.txt").read_text()


def locked(name: str) -> dict[str, str]:
    return {canonicalize_name(package): version for package, version, _ in ENTRY.findall(text(name))}


def needed(asked: list[str]) -> dict[str, list[Requirement]]:
    """The requirements and their requirements, by the metadata of the packages installed here."""
    found: dict[str, list[Requirement]] = {}
    left = [Requirement(each) for each in asked]
    while left:
        requirement = left.pop()
        name = canonicalize_name(requirement.name)
        if not _applies(requirement, {""}):
            continue
        known = name in found
        found.setdefault(name, []).append(requirement)
        if not known:
            extras = {"", *requirement.extras}
            below = [Requirement(each) for each in requires(name) or ()]
            left += [Requirement(str(each).partition(";")[0]) for each in below if _applies(each, extras)]
    return found


def _applies(requirement: Requirement, extras: set[str]) -> bool:
    return requirement.marker is None or any(
        requirement.marker.evaluate({"extra": extra}) for extra in extras
    )


@pytest.mark.parametrize("name", ASKED)
def test_lock_is_complete_and_fits(name: str) -> None:
    versions = locked(name)
    for package, requirements in needed(ASKED[name]).items():
        for requirement in requirements:
            assert requirement.specifier.contains(versions[package]), requirement


@pytest.mark.parametrize("name", ASKED)
def test_lock_has_hashes_and_names_no_host(name: str) -> None:
    left = ENTRY.sub("", text(name))
    assert [line for line in left.splitlines() if not line.lstrip().startswith("#")] == []
    assert not re.search(r"://|--index|--find|--trusted|\.org\b|\.com\b|\.io\b|@", text(name))


@pytest.mark.parametrize("name", ASKED)
def test_locked_versions_are_the_tested_ones(name: str) -> None:
    tested = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    tested = {canonicalize_name(package): version for package, version in tested.items()}
    assert {
        package: version for package, version in locked(name).items() if tested.get(package) != version
    } == {}


def test_build_backend_is_pinned() -> None:
    (backend,) = PROJECT["build-system"]["requires"]
    assert backend == f"hatchling=={locked('build')['hatchling']}"
