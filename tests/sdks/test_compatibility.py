"""docs/compatibility.md says what the tests say, and of the versions that they are pinned to."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from .compatibility import PAGE, heading, shown_in

_TESTS: Final = Path(__file__).parent


def declared() -> set[tuple[str, str]]:
    """SDK and feature of every works(…) and case(…), read and not run: most SDKs are not installed here."""
    return {pair for path in _TESTS.rglob("test_*.py") for pair in _declared_in(ast.parse(path.read_text()))}


def _declared_in(module: ast.Module) -> set[tuple[str, str]]:
    constants = {
        node.target.id: node.value.value
        for node in module.body
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and isinstance(node.value, ast.Constant)
    }
    calls = [node for node in ast.walk(module) if isinstance(node, ast.Call)]
    named = [(call.func.id, call.args) for call in calls if isinstance(call.func, ast.Name)]
    shown = [
        (args[0], args[{"works": 1, "case": 2}[name] :]) for name, args in named if name in ("works", "case")
    ]
    return {(_text(sdk, constants), _text(each, constants)) for sdk, features in shown for each in features}


def _text(node: ast.expr, constants: Mapping[str, object]) -> str:
    return str(constants[node.id] if isinstance(node, ast.Name) else ast.literal_eval(node))


def written() -> set[tuple[str, str]]:
    """The heading and feature of every row in the page."""
    sections = PAGE.read_text().split("\n## ")[1:]
    return {
        (section.splitlines()[0], feature)
        for section in sections
        for feature in re.findall(r"^\| ([^|]+?) \| (?:yes|·)", section, re.MULTILINE)
    }


def test_page_lists_exactly_what_the_tests_show() -> None:
    """If not: make compatibility."""
    assert written() == {(heading(sdk), feature) for sdk, feature in declared()}


@pytest.mark.parametrize("outcome", ["<failure/>", "<error/>", "<skipped/>", ""])
def test_failed_run_and_one_without_features_write_no_page(outcome: str, tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text(f'<testsuite><testcase classname="a" name="b">{outcome}</testcase></testsuite>')
    with pytest.raises(SystemExit, match=r"a\.b did not pass" if outcome else "nothing is written"):
        shown_in(report)
