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

SCRIPTS = Path(sys.executable).parent

PROGRAMS = [
    (["blindrelay", "--help"], "client"),
    (["blindrelay-relay", "serve"], "relay"),
    (["blindrelay-bridge", "--help"], "bridge"),
    (["-m", "blindrelay.testbed", "up"], "testbed"),
    (["-m", "bench", "own"], "dev"),
]


def started(arguments: list[str], hidden: str, folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "sitecustomize.py").write_text(HIDE)
    program = [sys.executable] if arguments[0] == "-m" else [SCRIPTS / arguments.pop(0)]
    environment = os.environ | {"PYTHONPATH": str(folder), "HIDDEN": hidden}
    root = Path(__file__).parents[1]
    return subprocess.run(
        [*program, *arguments],
        env=environment,
        cwd=root,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.parametrize(("arguments", "extra"), PROGRAMS, ids=lambda each: " ".join(each))
def test_missing_extra_is_named(arguments: list[str], extra: str, tmp_path: Path) -> None:
    done = started(list(arguments), OPTIONAL, tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert done.stderr.endswith(f'is not installed: pip install "blindrelay[{extra}]"\n')


@pytest.mark.parametrize(
    ("arguments", "hidden", "extra"),
    [
        (["blindrelay", "proxy", "--port", "0"], "starlette uvicorn", "proxy"),
        (["blindrelay", "run", "--", "true"], "starlette uvicorn", "proxy"),
        (["blindrelay", "models"], "httpx", "client"),
    ],
)
def test_command_names_the_extra_that_it_needs(
    arguments: list[str], hidden: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = format_identity(IdentityKey.generate().public_key)
    monkeypatch.setenv("BLINDRELAY_CONNECTION", f"blindrelay://t@127.0.0.1:1?tls=off&bridge={identity}")
    done = started(list(arguments), hidden, tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert f'pip install "blindrelay[{extra}]"' in done.stderr


def test_import_without_the_extra_is_an_import_error(tmp_path: Path) -> None:
    done = started(["-m", "timeit", "-n1", "-r1", "import blindrelay.provider_bridge"], "nacl", tmp_path)
    assert done.stderr.rstrip().endswith('nacl is not installed: pip install "blindrelay[bridge]"')
    assert "MissingExtraError" in done.stderr
