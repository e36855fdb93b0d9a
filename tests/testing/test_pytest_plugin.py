"""The fixture of blindrelay.testing, in a pytest process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run_pytest(folder: Path, program: str) -> str:
    """What pytest says of a test file, in a process of its own."""
    (folder / "test_mine.py").write_text(program)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder)]
    done = subprocess.run(
        [*command, str(folder)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return done.stdout + done.stderr


def test_the_page_s_examples_pass(tmp_path: Path) -> None:
    page = (ROOT / "docs/testing.md").read_text()
    examples = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert "4 passed" in run_pytest(tmp_path, "\n\n".join(examples))


def test_the_plugin_imports_nothing_heavy_until_a_test_uses_the_fixture(tmp_path: Path) -> None:
    program = (
        "import sys\ndef test_mine(): assert not {'grpc', 'httpx', 'uvicorn', 'nacl'} & set(sys.modules)\n"
    )
    assert "1 passed" in run_pytest(tmp_path, program)


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "uvicorn.py").write_text("raise ModuleNotFoundError('no uvicorn', name='uvicorn')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    said = run_pytest(tmp_path, "def test_mine(blindrelay): pass\n")
    assert 'the package uvicorn is not installed: pip install "blindrelay[testing]"' in said
