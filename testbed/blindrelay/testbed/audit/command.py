"""`python -m blindrelay.testbed audit`."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from blindrelay.testbed.audit.closure import Package, bill_of_materials, closure
from blindrelay.testbed.audit.size import Module, modules
from blindrelay.testbed.errors import UnavailableError

_PROJECT: Final = Path(__file__).parents[4]
_WHAT: Final = {
    "relay_node": "the relay itself",
    "serving": "what it shares with the bridge: listener, TLS, tokens, configuration",
    "v1": "the wire contract: limits, envelope, statuses",
    "v1, generated": "protoc's descriptions of the messages",
}


def run_command(sbom: Path | None, *, as_json: bool) -> None:
    """Prints size and closure; writes the bill of materials. Raises UnavailableError without an index."""
    try:
        found, (ours, packages) = modules(), closure(_PROJECT)
    except subprocess.CalledProcessError as error:
        raise UnavailableError(f"pip could not install blindrelay[relay]: {error.stderr.strip()}") from None
    bill = bill_of_materials(ours, packages)
    if sbom is not None:
        sbom.parent.mkdir(parents=True, exist_ok=True)
        sbom.write_text(json.dumps(bill, indent=1) + "\n")
    if as_json:
        print(json.dumps({"size": sizes(found), "sbom": bill}))
        return
    print("\n".join((*_size_table(found), "", *_closure_table(packages))))
    if sbom is not None:
        print(f"\nBill of materials (CycloneDX): {sbom}")


def sizes(found: list[Module]) -> dict[str, tuple[int, int]]:
    """Files and lines of code by package; generated modules by themselves."""
    by_name: dict[str, tuple[int, int]] = dict.fromkeys(_WHAT, (0, 0))
    for module in found:
        name = "v1, generated" if module.is_generated else module.package
        files, lines = by_name.get(name, (0, 0))
        by_name[name] = files + 1, lines + module.lines
    return by_name


def _size_table(found: list[Module]) -> Iterator[str]:
    yield "Our code in a running relay:"
    for name, (files, lines) in sizes(found).items():
        yield f"  {name:16} {files:3} files {lines:6} lines of code   {_WHAT.get(name, 'UNEXPECTED')}"
    by_hand = [module for module in found if not module.is_generated]
    lines = sum(module.lines for module in by_hand)
    yield f"  {'in all, by hand':16} {len(by_hand):3} files {lines:6} lines of code"


def _closure_table(packages: list[Package]) -> Iterator[str]:
    yield "Its dependencies, besides Python's own library:"
    for package in packages:
        yield f"  {package.name:24} {package.version:10} {package.what_for}"
        yield f"  {'':24} {package.licence}; sha256 {package.sha256}"
