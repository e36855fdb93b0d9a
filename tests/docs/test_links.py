"""Every relative link in a tracked page leads to a tracked file or folder, and every anchor to a heading."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from deploy.site_pages import links, place, tracked

ROOT = Path(__file__).parents[2]
TRACKED = tracked()
PAGES = [path for path in TRACKED if path.endswith(".md")]
PLACES = {*TRACKED, *(str(folder) for path in TRACKED for folder in Path(path).parents)}
"""The files, and the folders that hold one."""


def slugs(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them; a heading that is repeated gets a number."""
    found: list[str] = []
    for heading in re.findall(r"^#{1,6} +(.+?) *#*$", re.sub(r"(?ms)^ *```.*?^ *```", "", text), re.M):
        shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        found.append(re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-"))
    return {
        slug if not (before := found[:index].count(slug)) else f"{slug}-{before}"
        for index, slug in enumerate(found)
    }


@cache
def anchors(page: str) -> set[str]:
    return slugs((ROOT / page).read_text())


def dead(page: str, text: str) -> list[str]:
    """The page's links that lead nowhere."""
    wrong = []
    for target in links(text):
        path, anchor = place(page, target)
        known = anchors(path) if path.endswith(".md") and path in PLACES else set()
        if path not in PLACES or (anchor and anchor.removeprefix("#") not in known):
            wrong.append(target)
    return wrong


def test_pages_are_found() -> None:
    assert {"README.md", "docs/cli.md", "spec/protocol.md", ".github/pull_request_template.md"} <= set(PAGES)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    assert dead(page, (ROOT / page).read_text()) == []


@pytest.mark.parametrize(
    "target",
    [
        "none.md",
        "cli.md#none",
        "#none",
        "docs/cli.md",
        "../../cli.md",
        "images/live-view.png#none",
        "../.venv/",
        "../Docs/cli.md",
    ],
)
def test_dead_link_is_found(target: str) -> None:
    assert dead("docs/cli.md", f"See [here]({target}).") == [target]


def test_good_links_pass() -> None:
    good = "[a](keys.md) [b](cli.md#exit-codes) [c](#exit-codes) ![d](images/live-view.png) [e](../spec/)"
    assert links(good) == ["keys.md", "cli.md#exit-codes", "#exit-codes", "images/live-view.png", "../spec/"]
    assert dead("docs/cli.md", f"{good} [f](https://example.com/none.md) [g](mailto:a@example.com)") == []


@pytest.mark.parametrize("code", ["`[a](none.md)`", "``[`a`](none.md)``", "```\n[a](none.md)\n```"])
def test_code_has_no_links(code: str) -> None:
    assert links(code) == []
    assert links(f"{code} [b](c.md)") == ["c.md"]


def test_link_may_contain_code_and_brackets() -> None:
    assert links("[`a` [b] c](d.md) and [![e](f.png)](g.md)") == ["d.md", "f.png", "g.md"]


def test_slugs_match_github() -> None:
    page = (
        "# 4.2 Keys\n## `run`: what & how\n## A\n## A\n```\n# no heading\n```\n### [Link](x.md) & ein Maß\n"
    )
    assert slugs(page) == {"42-keys", "run-what--how", "a", "a-1", "link--ein-maß"}
