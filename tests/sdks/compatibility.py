"""Writes docs/compatibility.md from what a run of the tests has shown.

    python -m tests.sdks.compatibility REPORT.xml      where pytest's --junitxml has put its report

A test says with `works` what it shows. Versions are those that constraints.txt and package.json pin.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Final

from tests.sdks.works import COLUMNS, PROPERTY

_FOLDER: Final = Path(__file__).parent
PAGE: Final = _FOLDER.parents[1] / "docs" / "compatibility.md"

Shown = dict[str, dict[str, set[str]]]


def main(report: str) -> int:
    PAGE.write_text(page(shown_in(Path(report))), encoding="utf-8")
    return 0


def shown_in(report: Path) -> Shown:
    """Features and columns by SDK. Raises SystemExit if a test did not pass, or none showed anything."""
    shown: Shown = defaultdict(lambda: defaultdict(set))
    for case in ElementTree.parse(report).iter("testcase"):
        if any(case.find(outcome) is not None for outcome in ("failure", "error", "skipped")):
            raise SystemExit(f"{case.get('classname')}.{case.get('name')} did not pass: nothing is written")
        for entry in case.iter("property"):
            if entry.get("name") == PROPERTY:
                sdk, feature, column = json.loads(entry.get("value", ""))
                shown[sdk][feature].add(column)
    if not shown:
        raise SystemExit("no test says what works: nothing is written")
    return shown


def page(shown: Shown) -> str:
    order = sorted(shown, key=lambda sdk: (sdk.startswith("npm "), sdk))
    return "\n".join([_words()["head"], *(_section(sdk, shown[sdk]) for sdk in order)])


def heading(sdk: str) -> str:
    """An SDK and the version that is pinned for the tests."""
    name = sdk.removeprefix("npm ")
    if name != sdk:
        return f"{sdk} {json.loads((_FOLDER / 'package.json').read_text())['dependencies'][name]}"
    package = {"pydantic-ai": "pydantic-ai-slim"}.get(name, name)
    (version,) = re.findall(rf"^{package}==(\S+)$", (_FOLDER / "constraints.txt").read_text(), re.MULTILINE)
    return f"{sdk} {version}"


def _section(sdk: str, features: dict[str, set[str]]) -> str:
    columns = [column for column in COLUMNS if any(column in each for each in features.values())]
    lines = [f"## {heading(sdk)}", "", _row("", columns), _row("---", ["---"] * len(columns))]
    for feature in sorted(features):
        lines.append(_row(feature, ["yes" if column in features[feature] else "·" for column in columns]))
    if sdk in _words():
        lines += ["", _words()[sdk]]
    return "\n".join([*lines, ""])


@cache
def _words() -> dict[str, str]:
    """What a user should know beside the tables: the page's head, and of some SDKs."""
    return tomllib.loads((_FOLDER / "compatibility.toml").read_text())


def _row(first: str, others: Iterable[str]) -> str:
    return "| " + " | ".join([first, *others]) + " |"


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
