"""Replays every kept input, runs each target briefly, and shows that a run can fail."""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .distil import distilled
from .registry import TARGETS
from .run import CRASHERS, KEPT, Forking, main
from .target import Target

needs_atheris = pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason="atheris has wheels for Linux only"
)

BROKEN = """
from tests.fuzz.target import Target, check

def wrong_error(data):
    if data[:1] > b"a":
        raise KeyError("undeclared")

def broken_rule(data):
    check(len(data) < 3, "an input has at most two bytes")

def sound(data):
    if data:
        raise ValueError("declared")

TARGETS = [Target(each.__name__, each, (ValueError,)) for each in (wrong_error, broken_rule, sound)]
"""


@pytest.fixture
def quiet() -> Iterator[None]:
    """Refused directories are logged otherwise, one line each."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


def is_accepted(target: Target, data: bytes) -> bool:
    try:
        target.decode(data)
    except target.refusals:
        return False
    return True


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_kept_inputs_and_seeds_pass(target: Target) -> None:
    seeds = list(target.seeds())
    kept = [path.read_bytes() for path in sorted((KEPT / target.name).glob("*"))]
    for data in seeds + kept:
        target(data)
    assert any(is_accepted(target, data) for data in seeds + kept), "no input gets past the decoder"


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    "path", sorted(CRASHERS.glob("*/*")), ids=lambda path: f"{path.parent.name}/{path.name}"
)
def test_crasher_passes(path: Path) -> None:
    [target] = [target for target in TARGETS if target.name == path.parent.name]
    target(path.read_bytes())


def test_corpus_is_small_and_has_targets() -> None:
    folders = [*KEPT.iterdir(), *CRASHERS.iterdir()]
    assert {folder.name for folder in folders} <= {target.name for target in TARGETS}
    for folder in folders:
        sizes = [path.stat().st_size for path in folder.iterdir()]
        assert len(sizes) <= 40
        assert sum(sizes) <= 61_440


@needs_atheris
@pytest.mark.timeout(2_400)
def test_short_run_finds_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    places = ["--work", str(tmp_path / "work"), "--crashers", str(tmp_path / "crashers")]
    code = main(["--runs", "500", "--seconds", "60", "--seed", "1", *places])
    table = capsys.readouterr().out
    assert code == 0, table
    edges = {line.split()[0]: int(line.split()[3]) for line in table.splitlines()[1:]}
    assert list(edges) == [target.name for target in TARGETS]
    assert min(edges.values()) > 0


@needs_atheris
@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("wrong_error", "KeyError: 'undeclared'"),
        ("broken_rule", "BrokenError: an input has at most two bytes"),
        ("sound", None),
    ],
)
def test_broken_target_is_found(
    name: str,
    found: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "broken_targets.py").write_text(BROKEN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.delitem(sys.modules, "broken_targets", raising=False)
    folders = {name: tmp_path / name for name in ("work", "kept", "crashers")}
    places = [word for option, folder in folders.items() for word in (f"--{option}", str(folder))]
    options = ["--registry", "broken_targets", "--runs", "20000", "--seed", "1", "--jobs", "2"]
    code = main([*options, *places, name])
    saved = list(folders["crashers"].glob(f"{name}/crash-*"))
    if found is None:
        assert (code, saved) == (0, [])
    else:
        assert (code, len(saved)) == (1, 1)
        assert found in capsys.readouterr().out


@needs_atheris
def test_registry_that_cannot_be_imported_is_named(tmp_path: Path) -> None:
    with (
        Forking("no_such_registry", tmp_path / "log") as process,
        pytest.raises(RuntimeError, match="No module named 'no_such_registry'"),
    ):
        process.exit_code("url", tmp_path / "url", [])


def test_distilling_keeps_inputs_that_reach_something_new() -> None:
    [target] = [target for target in TARGETS if target.name == "url"]
    [seed, *_] = target.seeds()
    port = b"https://api.openai.com:0/v1"
    assert distilled(target, [seed, port, port, b"https://api.openai.com:00/v1"]) == [port]
