"""`blindrelay-bridge import`, run in this process on files of a test."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from blindrelay.provider_bridge.cli import main


@dataclass(frozen=True)
class Result:
    """What a run of the command left.

    Attributes:
        notes: the lines on stderr.
        config: what is in bridge.toml.
        folder: where it is.
    """

    code: int
    notes: list[str]
    config: dict[str, Any]
    folder: Path

    @property
    def providers(self) -> dict[str, dict[str, Any]]:
        return {each["name"]: each for each in self.config["provider"]}

    @property
    def targets(self) -> dict[str, list[tuple[Any, ...]]]:
        """Provider, model, weight and priority of each model's targets."""
        return {
            model["name"]: [
                (each["provider"], each["model"], each.get("weight", 1), each.get("priority", 0))
                for each in model["targets"]
            ]
            for model in self.config["model"]
        }


Import = Callable[[str], Result]


@pytest.fixture
def run_import(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Import:
    """Imports a text; gives what came of it."""

    def run(text: str) -> Result:
        (tmp_path / "given").write_text(text)
        out = tmp_path / "bridge.toml"
        code = main(["import", str(tmp_path / "given"), "--out", str(out)])
        config = tomllib.loads(out.read_text()) if out.exists() else {}
        return Result(code, capfd.readouterr().err.splitlines(), config, tmp_path)

    return run
