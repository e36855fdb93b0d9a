"""Wheel, locks, image and environment: reproducible, hashed, without a shell, and as the docs say."""

from __future__ import annotations

import importlib.util
import json
import os
import pty
import re
import runpy
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

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


PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
DEPENDENCIES = PROJECT["project"]["dependencies"]
EXTRAS = PROJECT["project"]["optional-dependencies"]
ASKED: dict[str, list[str]] = {
    **{name: DEPENDENCIES + EXTRAS[name] for name in ("relay", "bridge", "client", "metrics")},
    "ledger": DEPENDENCIES + EXTRAS["ledger"] + EXTRAS["postgresql"],
    "build": PROJECT["build-system"]["requires"],
}
"""The requirements of each lock file."""

ENTRY = re.compile(r"^([\w.-]+)==(\S+)((?: \\\n    --hash=sha256:[0-9a-f]{64})+)\n", re.MULTILINE)


def text(name: str) -> str:
    return (ROOT / f"deploy/locked/{name}.txt").read_text()


def locked(name: str) -> dict[str, str]:
    return {canonicalize_name(package): version for package, version, _ in ENTRY.findall(text(name))}


def needed(asked: list[str]) -> list[Requirement]:
    """The requirements and their requirements, by the metadata of the packages installed here."""
    found: dict[str, Requirement] = {}
    left = [(Requirement(each), {""}) for each in asked]
    while left:
        requirement, extras = left.pop()
        marker = requirement.marker
        applies = marker is None or any(marker.evaluate({"extra": extra}) for extra in extras)
        if applies and str(requirement) not in found:
            found[str(requirement)] = requirement
            below = requires(requirement.name) or ()
            left += [(Requirement(each), {"", *requirement.extras}) for each in below]
    return list(found.values())


@pytest.mark.parametrize("name", ASKED)
def test_lock_is_complete_and_fits(name: str) -> None:
    versions = locked(name)
    for requirement in needed(ASKED[name]):
        version = versions[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), requirement


@pytest.mark.parametrize("name", ASKED)
def test_lock_has_hashes_of_the_tested_versions_and_names_no_host(name: str) -> None:
    left = ENTRY.sub("", text(name))
    assert [line for line in left.splitlines() if not line.lstrip().startswith("#")] == []
    assert not re.search(r"://|--index|--find|--trusted|\.org\b|\.com\b|\.io\b|@", text(name))
    pinned = re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert locked(name).items() <= {(canonicalize_name(package), version) for package, version in pinned}


def test_build_backend_is_pinned() -> None:
    (backend,) = PROJECT["build-system"]["requires"]
    assert backend == f"hatchling=={locked('build')['hatchling']}"


IMAGES = {"Containerfile": "relay", "Containerfile.bridge": "bridge", "Containerfile.ledger": "ledger"}
"""What each installs."""


def stages(file: str) -> list[list[tuple[str, str]]]:
    """The instructions of each stage, in order."""
    _, *stages = re.split("^(?=FROM )", (ROOT / "deploy" / file).read_text(), flags=re.MULTILINE)
    return [re.findall("^([A-Z]+) (.*)$", stage, re.MULTILINE) for stage in stages]


def last(name: str, stage: list[tuple[str, str]]) -> str:
    """The last instruction with that name: the one that counts."""
    return [rest for each, rest in stage if each == name][-1]


@pytest.mark.parametrize("file", IMAGES)
def test_image_runs_as_nobody_and_without_a_shell(file: str) -> None:
    """And every stage has a version."""
    _, image = stages(file)
    assert last("USER", image) == "65532:65532"
    assert "RUN" not in dict(image)
    assert "distroless" in last("FROM", image)
    for name in ("ENTRYPOINT", "CMD"):
        assert isinstance(json.loads(last(name, image)), list), "the form that needs no shell"
    for stage in stages(file):
        base = last("FROM", stage).split()[0]
        assert base.rpartition(":")[2] not in ("latest", base)


@pytest.mark.parametrize("file", IMAGES)
def test_image_runs_what_was_installed(file: str) -> None:
    build, image = stages(file)
    dependencies, backend, ourselves = (json.loads(rest) for name, rest in build if name == "RUN")
    for command, lock in ((dependencies, IMAGES[file]), (backend, "build")):
        assert "--require-hashes" in command
        assert command[-1] == f"deploy/locked/{lock}.txt"
        assert (ROOT / command[-1]).is_file()
    assert {"--no-index", "--no-deps", "--no-build-isolation"} <= set(ourselves)
    assert ourselves[-1] == "."
    target = ourselves[ourselves.index("--target") + 1]
    assert dependencies[dependencies.index("--target") + 1] == target
    assert last("COPY", image) == f"--from=build {target} {target}"
    assert f"PYTHONPATH={target} " in last("ENV", image)
    *_, option, module = json.loads(last("ENTRYPOINT", image))
    assert option == "-m"
    assert importlib.util.find_spec(f"{module}.__main__") is not None


MAKE_VENV = Path(__file__).parents[2] / "deploy" / "make_venv.py"


def test_ctrl_c_is_one_line_and_leaves_no_environment(tmp_path: Path) -> None:
    # pip waits for its requirements, which nobody writes, until the terminal interrupts it. It is the one
    # installed here: unpacking another takes ten seconds.
    folder, requirements = tmp_path / "venv", tmp_path / "requirements.txt"
    os.mkfifo(requirements)
    script = (
        "import fcntl, signal, sys, termios; from pathlib import Path\n"
        "fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"sys.path.insert(0, {str(MAKE_VENV.parent)!r}); import make_venv\n"
        "create = make_venv.venv.create\n"
        "make_venv.venv.create = lambda folder, **_: create(folder, symlinks=True)\n"
        f"sys.exit(make_venv.main(Path({str(folder)!r}), ['-r', {str(requirements)!r}]))"
    )
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=terminal,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": sysconfig.get_path("purelib")},
        start_new_session=True,
    )
    with requirements.open("w"):  # opens when pip does
        os.write(controller, b"\x03")
        _, errors = process.communicate(timeout=60)
    os.close(controller)
    os.close(terminal)
    assert (process.returncode, errors) == (130, f"Interrupted. {folder} was removed.\n")
    assert not folder.exists()
