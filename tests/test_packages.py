"""The shape of the distribution: one namespace, and packages that list their public names."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = sorted(folder for folder in ROOT.glob("*/blindrelay/*/") if (folder / "__init__.py").is_file())
AIDS = {"__future__", "blindrelay.v1.extras", "importlib", "typing"}
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


def statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """A module's statements. Names imported for types count as imports."""
    for node in body:
        match node:
            case ast.If(test=ast.Name(id="TYPE_CHECKING")) | ast.With():
                yield from node.body
            case ast.Assign(targets=[ast.Name(id="TYPE_CHECKING")]):
                pass
            case _:
                yield node


def offered(package: ModuleType) -> set[str]:
    """The public names that the package's own `__init__.py` binds, submodules and future imports aside."""
    bound: set[str] = set()
    for node in statements(ast.parse(inspect.getsource(package)).body):
        match node:
            case ast.ImportFrom(module=module, names=names) if module not in AIDS:
                bound |= {alias.asname or alias.name for alias in names}
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                bound.add(name)
            case ast.Assign(targets=targets):
                bound |= {target.id for target in targets if isinstance(target, ast.Name)}
            case ast.AnnAssign(target=ast.Name(id=name)):
                bound.add(name)
            case _:
                pass
    return {name for name in bound if not name.startswith("_")}


def in_order(names: set[str]) -> list[str]:
    """Constants, then classes, then the rest: the order that ruff's RUF022 keeps."""
    return sorted(names, key=lambda name: (not name.isupper(), not name[:1].isupper(), name))


@pytest.mark.parametrize("name", NAMES)
def test_all_lists_every_public_name_in_order(name: str) -> None:
    package = importlib.import_module(name)
    listed: list[str] = list(getattr(package, "__all__", []))
    assert listed == in_order(offered(package))
    values = [getattr(package, each) for each in listed]
    for value in (package, *(each for each in values if inspect.isclass(each) or inspect.isroutine(each))):
        assert inspect.getdoc(value), f"{value} has no docstring"


@pytest.mark.parametrize("name", ["blindrelay.sealing", "blindrelay.v1.envelope", "blindrelay.v1.keys"])
def test_core_imports_no_grpc_and_no_transport(name: str) -> None:
    """In its own process, so that imports of other tests hide nothing."""
    unwanted = ("grpc", "httpx", "httpx2", "asyncio", "socket", "ssl")
    program = f"import sys, {name}; print(*[each for each in {unwanted!r} if each in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr
