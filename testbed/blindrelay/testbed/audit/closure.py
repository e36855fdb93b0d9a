"""What pip would install with blindrelay[relay]: name, version, hash and licence, from the package index."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_WHAT_FOR: Final = {
    "grpcio": "HTTP/2 and gRPC, with BoringSSL for TLS",
    "grpcio-health-checking": "the health service's messages",
    "protobuf": "reading and writing messages",
    "typing-extensions": "types of grpcio's interface",
}


@dataclass(frozen=True)
class Package:
    """One package besides our own. `sha256` is of the file that pip would take here."""

    name: str
    version: str
    sha256: str
    licence: str

    @property
    def what_for(self) -> str:
        """Why it is there."""
        return _WHAT_FOR.get(self.name, "UNKNOWN: say in closure.py what it is for")


def closure(project: Path) -> list[Package]:
    """Resolves, and installs nothing. Raises subprocess.CalledProcessError without an index."""
    command = [
        *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--dry-run"),
        *("--ignore-installed", "--report", "-", "-c", str(project / "constraints.txt"), f"{project}[relay]"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    installs = json.loads(done.stdout)["install"]
    found = [_package(each) for each in installs if each["metadata"]["name"] != "blindrelay"]
    return sorted(found, key=lambda package: package.name)


def bill_of_materials(version: str, packages: list[Package]) -> dict[str, Any]:
    """The same in CycloneDX 1.6, JSON."""
    ours = {"type": "application", "name": "blindrelay", "version": version, "bom-ref": "blindrelay"}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {**ours, "licenses": [{"license": {"id": "Apache-2.0"}}]}},
        "components": [_component(each) for each in packages],
        "dependencies": [{"ref": "blindrelay", "dependsOn": [_url(each) for each in packages]}],
    }


def _package(install: dict[str, Any]) -> Package:
    metadata = install["metadata"]
    licence = metadata.get("license_expression") or metadata.get("license") or _classified(metadata)
    return Package(
        metadata["name"].replace("_", "-").lower(),
        metadata["version"],
        install["download_info"]["archive_info"]["hashes"]["sha256"],
        licence.splitlines()[0],
    )


def _classified(metadata: dict[str, Any]) -> str:
    named = [each for each in metadata.get("classifier", []) if each.startswith("License ::")]
    return named[0].rpartition(" :: ")[2] if named else "not stated"


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


def _url(package: Package) -> str:
    return f"pkg:pypi/{package.name}@{package.version}"
