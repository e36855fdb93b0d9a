"""A program with missing packages says in one line which extra brings them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from blindrelay.trust import IdentityKey, format_identity

HIDE = """
import os, sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in os.environ["HIDDEN"].split():
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hidden())
"""

OPTIONAL = (
    "nacl cryptography httpx httpx2 click starlette uvicorn websockets grpc_health openai gguf hpack numpy"
)
"""What a plain install does not bring."""

PROGRAMS = [
    (["blindrelay", "--help"], OPTIONAL, "client"),
    (["blindrelay", "models"], "httpx", "client"),
    (["blindrelay", "proxy", "--port", "0"], "starlette uvicorn", "proxy"),
    (["blindrelay", "run", "--", "true"], "starlette uvicorn", "proxy"),
    (["blindrelay-relay", "serve"], OPTIONAL, "relay"),
    (["blindrelay-bridge", "--help"], OPTIONAL, "bridge"),
    (["blindrelay-ledger", "--help"], OPTIONAL, "ledger"),
    (["blindrelay-ledger", "check"], "starlette uvicorn", "ledger"),
    (["blindrelay-bridge", "import", ".pre-commit-config.yaml"], "yaml", "import"),
    (["-m", "blindrelay.testbed", "up"], OPTIONAL, "testbed"),
    (["-m", "bench", "own"], OPTIONAL, "dev"),
]
IDENTITY = format_identity(IdentityKey.generate().public_key)
CONNECTION = f"blindrelay://t@127.0.0.1:1?tls=off&bridge={IDENTITY}"


@pytest.fixture(autouse=True)
def hiding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """New processes hide what HIDDEN names."""
    (tmp_path / "sitecustomize.py").write_text(HIDE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)


def started(arguments: list[str], hidden: str) -> subprocess.CompletedProcess[str]:
    program = (
        [sys.executable] if arguments[0] == "-m" else [str(Path(sys.executable).with_name(arguments[0]))]
    )
    own = {"HIDDEN": hidden, "BLINDRELAY_CONNECTION": CONNECTION}
    return subprocess.run(
        [*program, *arguments[arguments[0] != "-m" :]],
        env=os.environ | own,
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=100,
    )


@pytest.mark.parametrize(
    ("arguments", "hidden", "extra"), PROGRAMS, ids=[" ".join(program[0]) for program in PROGRAMS]
)
def test_missing_extra_is_named(arguments: list[str], hidden: str, extra: str) -> None:
    done = started(arguments, hidden)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert done.stderr.endswith(f'is not installed: pip install "blindrelay[{extra}]"\n')


def test_import_without_the_extra_is_an_import_error() -> None:
    done = started(["-m", "timeit", "-n1", "-r1", "import blindrelay.provider_bridge"], "nacl")
    assert done.stderr.rstrip().endswith('nacl is not installed: pip install "blindrelay[bridge]"')
    assert "MissingExtraError" in done.stderr
