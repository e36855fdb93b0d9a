"""Wheels are reproducible, an altered one is detected, and the docs' figures match the code."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from blindrelay.testbed.audit.closure import Package, bill_of_materials, closure
from blindrelay.testbed.audit.command import sizes
from blindrelay.testbed.audit.size import code_lines, modules

ROOT = Path(__file__).parents[2]
VERIFY = [sys.executable, str(ROOT / "deploy/verify_release.py")]


def verified(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*VERIFY, *arguments], capture_output=True, text=True)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    script: Any = runpy.run_path(str(ROOT / "deploy/verify_release.py"))
    return Path(script["built"]("HEAD", tmp_path_factory.mktemp("release")))


def test_wheel_is_rebuilt_to_the_same_bytes(wheel: Path) -> None:
    done = verified(str(wheel))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("the same: sha256 ")


def test_altered_wheel_is_detected(wheel: Path, tmp_path: Path) -> None:
    altered = tmp_path / wheel.name
    with zipfile.ZipFile(wheel) as before, zipfile.ZipFile(altered, "w") as after:
        for name in before.namelist():
            data = before.read(name)
            after.writestr(name, data + b"\n" if name.endswith("relay_node/forwarding.py") else data)
        after.writestr("blindrelay.pth", "import os")
    done = verified(str(altered))
    assert done.returncode == 1
    assert "differs: blindrelay/relay_node/forwarding.py" in done.stdout
    assert "only in the given wheel: blindrelay.pth" in done.stdout


def test_wrong_arguments_are_rejected() -> None:
    assert verified().returncode == 2
    assert verified("--twice", "--commit", "no-such-commit").returncode == 2
    assert verified(str(ROOT / "README.md")).returncode == 2


def test_docs_have_the_size_of_the_relay() -> None:
    page = (ROOT / "docs/audit.md").read_text()
    for name, (files, lines) in sizes(modules()).items():
        package, comma, generated = name.partition(",")
        assert f"| `{package}`{comma}{generated} | {files} | {lines} |" in page


def test_every_file_of_the_audit_exists() -> None:
    page = (ROOT / "docs/audit.md").read_text()
    named = re.findall(r"`(?:[\w/…]+/)?(\w+\.(?:py|proto))`", page)
    assert {"forwarding.py", "audit_log.py", "sandbox.py", "exchange.proto"} <= set(named)
    folders = [ROOT / name for name in ("relay_node", "serving", "proto", "tests", "deploy")]
    found = {path.name for folder in folders for path in folder.rglob("*.*")}
    assert set(named) <= found


def test_only_lines_with_code_count() -> None:
    source = (
        '"""Docs,\nmore docs."""\n\n# note\nx = 1\n\n\ndef f():\n    """Docs."""\n    return """a\nb"""\n'
    )
    assert code_lines(source) == 4


def test_docs_name_the_dependencies() -> None:
    ours, packages = closure(ROOT)
    named = re.findall(r"Besides Python: (.*?);", (ROOT / "docs/audit.md").read_text())[0]
    assert set(re.sub(r" \(.*?\)", "", named).split(", ")) == {package.name for package in packages}
    assert ours.needs == ("grpcio", "grpcio-health-checking", "protobuf")
    for package in packages:
        assert re.fullmatch("[0-9a-f]{64}", package.sha256)
        assert package.licence != "not stated"
        assert "UNKNOWN" not in package.what_for


def test_bill_of_materials_has_the_dependencies() -> None:
    ours = Package("blindrelay", "0.1.0", "", "Apache-2.0", ("grpcio",))
    grpcio, other = Package("grpcio", "1.0", "00", "Apache-2.0", ("other",)), Package("other", "1", "00", "")
    bill = bill_of_materials(ours, [grpcio, other])
    purls = ["pkg:pypi/grpcio@1.0", "pkg:pypi/other@1"]
    assert [component["purl"] for component in bill["components"]] == purls
    assert [each["dependsOn"] for each in bill["dependencies"]] == [purls[:1], purls[1:], []]
    assert "UNKNOWN" in other.what_for, "a dependency without a reason is reported"
