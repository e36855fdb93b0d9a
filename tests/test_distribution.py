"""What `pip install` installs, and what the wheel contains."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CONSTRAINTS = ROOT / "constraints.txt"


def resolved(requirement: str) -> set[str]:
    """The names that pip would install into an empty environment."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"]
    command += ["--no-build-isolation", "--disable-pip-version-check", "--report", "-", requirement]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    names = [item["metadata"]["name"] for item in json.loads(done.stdout)["install"]]
    return {name.lower().replace("_", "-") for name in names}


def test_a_relay_installs_no_cryptography_and_no_http_client() -> None:
    expected = {"blindrelay", "grpcio", "grpcio-health-checking", "protobuf", "typing-extensions"}
    assert resolved(".[relay]") == expected


@pytest.mark.parametrize(
    ("requirement", "http_client"),
    [(".[proxy]", {"httpx", "httpcore", "anyio"}), (".[bridge,metrics]", set())],
)
def test_client_and_bridge_bring_what_they_need_and_nothing_that_is_not_pinned(
    requirement: str, http_client: set[str]
) -> None:
    names = resolved(requirement)
    assert {"pynacl", "cryptography", "h11", "grpcio"} <= names
    assert names & {"httpx", "httpcore", "anyio", "requests"} == http_client
    pinned = {line.partition("==")[0].lower().replace("_", "-") for line in CONSTRAINTS.read_text().split()}
    assert names - pinned == {"blindrelay"}


def test_wheel_has_every_package_and_the_generated_code(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    packages = ("v1", "sealing", "trust", "serving", "client", "relay_node", "provider_bridge", "testing")
    assert {f"blindrelay/{package}/py.typed" for package in packages} <= names
    assert "blindrelay/v1/exchange_pb2_grpc.py" in names
    assert "blindrelay/provider_bridge/presets.toml" in names
    pages = "blindrelay/ledger/page"
    assert {f"{pages}/templates/layout.html", f"{pages}/static/htmx-2.0.11.min.js"} <= names
    assert [name for name in names if ".dist-info/licenses/" in name and name.endswith("htmx-2.0.11.LICENSE")]
    assert "blindrelay/__init__.py" not in names
    assert not [name for name in names if name.startswith("blindrelay/testbed")], "it is for a clone alone"
