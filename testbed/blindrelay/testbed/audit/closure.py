"""What pip installs with blindrelay[relay]: name, version, hash, licence, and what requires it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any, Final

_WHAT_FOR: Final = {
    "grpcio": "HTTP/2 and gRPC, with BoringSSL for TLS",
    "grpcio-health-checking": "the health service's messages",
    "protobuf": "reading and writing messages",
    "typing-extensions": "types of grpcio's interface",
}


_OURS: Final = "blindrelay"
_EXTRA: Final = re.compile(r"""extra == ["'](.*?)["']""")


@dataclass(frozen=True)
class Package:
    """One installed package. `sha256` is of the file that pip took; `needs` are the packages it requires."""

    name: str
    version: str
    sha256: str
    licence: str
    needs: tuple[str, ...] = ()

    @property
    def what_for(self) -> str:
        """Why it is there."""
        return _WHAT_FOR.get(self.name, "UNKNOWN: say in closure.py what it is for")


def closure(project: Path) -> tuple[Package, list[Package]]:
    """Our package and all others, from an installation into an empty folder.

    Raises subprocess.CalledProcessError without an index.
    """
    with tempfile.TemporaryDirectory(prefix="blindrelay-closure-") as name:
        folder = Path(name)
        report = folder / "report.json"
        command = [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
            *("--target", str(folder / "installed"), "--report", str(report)),
            *("-c", str(project / "constraints.txt"), f"{project}[relay]"),
        ]
        subprocess.run(command, capture_output=True, text=True, check=True)
        hashes = {
            _canonical(each["metadata"]["name"]): each["download_info"]
            .get("archive_info", {})
            .get("hashes", {})
            for each in json.loads(report.read_text())["install"]
        }
        found = [_package(each, hashes) for each in distributions(path=[str(folder / "installed")])]
    (ours,) = (package for package in found if package.name == _OURS)
    return ours, sorted((each for each in found if each is not ours), key=lambda package: package.name)


def bill_of_materials(ours: Package, others: list[Package]) -> dict[str, Any]:
    """The same in CycloneDX 1.6, JSON."""
    named = {package.name: package for package in (ours, *others)}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": _url(ours),
                "name": ours.name,
                "version": ours.version,
                "licenses": [{"expression": ours.licence}],
            }
        },
        "components": [_component(each) for each in others],
        "dependencies": [
            {"ref": _url(each), "dependsOn": [_url(named[need]) for need in each.needs]}
            for each in named.values()
        ],
    }


def _package(installed: Distribution, hashes: dict[str, dict[str, str]]) -> Package:
    name = _canonical(installed.name)
    extra = "relay" if name == _OURS else None
    needs = {_asked_for(each, extra) for each in installed.requires or ()}
    return Package(
        name,
        installed.version,
        hashes[name].get("sha256", ""),
        _licence(installed),
        tuple(sorted(need for need in needs if need)),
    )


def _asked_for(requirement: str, extra: str | None) -> str | None:
    """The name in a requirement, unless it is for another extra."""
    asked = _EXTRA.search(requirement)
    if asked and asked[1] != extra:
        return None
    name = re.match(r"[\w.-]+", requirement)
    return None if name is None else _canonical(name[0])


def _licence(installed: Distribution) -> str:
    metadata = installed.metadata
    for key in ("License-Expression", "License"):
        if key in metadata:
            return metadata[key].splitlines()[0]
    return "not stated"


def _component(package: Package) -> dict[str, Any]:
    return {
        "type": "library",
        "bom-ref": _url(package),
        "name": package.name,
        "version": package.version,
        "purl": _url(package),
        "description": package.what_for,
        "hashes": [{"alg": "SHA-256", "content": package.sha256}],
        "licenses": [{"license": {"name": package.licence}}],
    }


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _url(package: Package) -> str:
    return f"pkg:pypi/{package.name}@{package.version}"
