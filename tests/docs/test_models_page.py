"""docs/models.md: the configuration that it shows becomes the one that it shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from blindrelay.provider_bridge import read_bridge_config
from blindrelay.provider_bridge.cli import main

PAGE = (Path(__file__).parents[2] / "docs" / "models.md").read_text()


def block(language: str) -> str:
    """The page's only block of code in this language."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return str(found)


def test_import_writes_what_the_page_shows(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    given, out = tmp_path / "config.yaml", tmp_path / "bridge.toml"
    given.write_text(block("yaml"))
    assert main(["import", str(given), "--out", str(out)]) == 0
    assert out.read_text() == block("toml")
    (note,) = capfd.readouterr().err.splitlines()
    assert f"`{note}`" in PAGE
    keys = re.findall(r"[A-Z]+_API_KEY", PAGE)
    assert read_bridge_config(out, dict.fromkeys(keys, "sk-test")).aggregate is not None
