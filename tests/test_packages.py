"""The shape of the distribution: one namespace, and packages that list their public names."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = sorted(folder for folder in ROOT.glob("*/blindrelay/*/") if (folder / "__init__.py").is_file())
NAMES = [f"blindrelay.{folder.name}" for folder in PACKAGES]


def test_namespace_stays_open_and_has_typed_packages() -> None:
    """One `blindrelay/__init__.py` would hide every other folder's packages."""
    ours = [path for path in ROOT.glob("*/blindrelay/*") if path.is_file()]
    assert ours == []
    assert not (ROOT / "blindrelay").exists()
    assert getattr(importlib.import_module("blindrelay"), "__file__", None) is None
    folders = {path for path in ROOT.glob("*/blindrelay/*/") if path.name != "__pycache__"}
    assert {"blindrelay.v1", "blindrelay.sealing"} <= set(NAMES)
    assert folders == set(PACKAGES)
    assert all((folder / "py.typed").is_file() for folder in folders)
    assert len({folder.name for folder in PACKAGES}) == len(PACKAGES)


@pytest.mark.parametrize("name", NAMES)
def test_public_names_exist_and_have_docstrings(name: str) -> None:
    """Some are imported when they are first used. ruff keeps the lists complete and in order."""
    package = importlib.import_module(name)
    assert not hasattr(package, "no_such_name")
    values = [getattr(package, each) for each in getattr(package, "__all__", [])]
    for value in (package, *(each for each in values if inspect.isclass(each) or inspect.isroutine(each))):
        assert inspect.getdoc(value), f"{value} has no docstring"


@pytest.mark.parametrize("name", ["blindrelay.sealing", "blindrelay.v1.envelope", "blindrelay.v1.keys"])
def test_core_imports_no_grpc_and_no_transport(name: str) -> None:
    assert imported(f"import {name}", ("grpc", "httpx", "httpx2", "asyncio", "socket", "ssl")) == []


def test_control_process_imports_nothing_that_only_other_commands_need() -> None:
    """What reads a package's version or its files takes a megabyte for as long as the process serves."""
    serving = "from blindrelay.relay_node.cli import main; main(['envoy', '--config', 'missing.toml'])"
    unwanted = ("importlib.metadata", "importlib.resources", "email", "zipfile", "http.client")
    assert imported(serving, ("blindrelay.relay_node.envoy.process", *unwanted)) == [
        "blindrelay.relay_node.envoy.process"
    ]


def imported(program: str, names: tuple[str, ...]) -> list[str]:
    """Which of these modules a program imports. In its own process, so that other imports hide nothing."""
    told = f"print(*[each for each in {names!r} if each in sys.modules and each not in before])"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; before = set(sys.modules); {program}; {told}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.split()
