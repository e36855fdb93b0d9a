"""deploy/site_pages.py: the pages that the site is built from, and what they would fetch."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from deploy.site_pages import fetched, fill, lacking, main, offered, tracked, with_links, with_menu

ROOT = Path(__file__).parents[2]
REQUIREMENTS = ROOT / "deploy" / "site-requirements.txt"


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the pages and the configuration."""
    folder = tmp_path_factory.mktemp("site")
    fill(folder)
    return folder


def in_menu(menu: list[Any]) -> list[str]:
    """The pages of a menu, in order."""
    pages: list[str] = []
    for entry in menu:
        for value in entry.values() if isinstance(entry, dict) else [entry]:
            pages += [value] if isinstance(value, str) else in_menu(value)
    return pages


def test_every_page_is_in_the_menu_once(filled: Path) -> None:
    menu = in_menu(tomllib.loads((filled / "zensical.toml").read_text())["project"]["nav"])
    pages = [path.relative_to(filled / "site-pages").as_posix() for path in filled.rglob("*.md")]
    assert sorted(menu) == sorted(pages)


def test_the_site_has_what_git_tracks(filled: Path) -> None:
    pages = {path.relative_to(filled / "site-pages").as_posix() for path in filled.rglob("*.md")}
    expected = {path for path in tracked() if re.match(r"[A-Z]+\.md|(docs|spec)/.*\.md", path)}
    assert expected <= pages
    assert {"api/client.md", "api/trust.md", "docs/adr/index.md"} <= pages
    assert (filled / "site-pages/docs/images/live-view.png").is_file()


def test_the_reference_reads_every_package_that_has_a_page(filled: Path) -> None:
    project = tomllib.loads((filled / "zensical.toml").read_text())["project"]
    folders = project["plugins"]["mkdocstrings"]["handlers"]["python"]["paths"]
    read = {package.name for folder in folders for package in ROOT.glob(f"{Path(folder).name}/blindrelay/*")}
    assert {page.stem for page in (filled / "site-pages/api").glob("*.md")} - {"index"} <= read


def test_filling_again_drops_deleted_pages(tmp_path: Path) -> None:
    gone = tmp_path / "site-pages" / "docs" / "gone.md"
    gone.parent.mkdir(parents=True)
    gone.write_text("# Gone\n")
    fill(tmp_path)
    assert not gone.exists()


def test_the_index_is_first_and_named_pages_are_not_repeated() -> None:
    pages = ["docs/a.md", "docs/b.md", "docs/README.md", "docs/more/c.md"]
    menu = with_menu('nav = ["docs/b.md", { "All" = ["docs/*"] }, "none/*", "docs/more/*"]', pages)
    assert in_menu(tomllib.loads(menu)["nav"]) == [
        "docs/b.md",
        "docs/README.md",
        "docs/a.md",
        "docs/more/c.md",
    ]


@pytest.mark.parametrize(
    ("link", "shown"),
    [
        ("[a](cli.md#exit-codes)", "[a](cli.md#exit-codes)"),
        ("[a](adr/)", "[a](adr/index.md)"),
        ("[a](../spec/vectors#b)", "[a](../spec/vectors/README.md#b)"),
        ("[the `code`](../client/blindrelay/)", "the `code`"),
        ("[a](https://example.com/) and [b](#b)", "[a](https://example.com/) and [b](#b)"),
        ("`[a](../client/)`", "`[a](../client/)`"),
    ],
)
def test_links_lead_to_pages_of_the_site(link: str, shown: str) -> None:
    site = {"docs/keys.md", "docs/cli.md", "docs/adr/index.md", "spec/vectors/README.md"}
    assert with_links(link, "docs/keys.md", site) == shown


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.html", '<link rel="stylesheet" href="https://example.com/a.css">'),
        ("a.html", "<script async\n src=//example.com/a.js></script>"),
        ("a.html", "<img alt='a > b' src='http://example.com/a.png'>"),
        ("a/b.svg", '<image/><script href="https://example.com/a.js"/>'),
        ("a.css", "@import 'https://example.com/a.css';"),
        ("a.css", "body { background: url(https://example.com/a.png) }"),
    ],
)
def test_fetch_from_another_host_is_found(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(content)
    assert [found.endswith(f" in {name}") for found in fetched(tmp_path)] == [True]


def test_links_and_own_files_pass(tmp_path: Path) -> None:
    own = '<a href="https://example.com/">a</a><script src="../a.js"></script><code>src="https://a/"</code>'
    (tmp_path / "a.html").write_text(own)
    (tmp_path / "a.css").write_text(
        "/* https://example.com/ */ a { background: url(data:image/png;base64,) }"
    )
    assert list(fetched(tmp_path)) == []


def test_name_missing_in_the_reference_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deploy.site_pages.PACKAGES", ("trust",))
    page = tmp_path / "api" / "trust" / "index.html"
    page.parent.mkdir(parents=True)
    page.write_text(" ".join(f'<h2 id="blindrelay.trust.{name}">' for name in offered("trust")))
    assert (list(lacking(tmp_path)), main(["check", str(tmp_path)])) == ([], 0)
    page.write_text(page.read_text().replace("trust.compare", "trust.other"))
    assert main(["check", str(tmp_path)]) == 1
    assert capsys.readouterr().err == "The API reference lacks blindrelay.trust.compare\n"


def test_site_requirements_are_pinned() -> None:
    lines = [line for line in REQUIREMENTS.read_text().splitlines() if not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []
    assert {"zensical", "mkdocstrings", "mkdocstrings-python"} <= {line.split("==")[0] for line in lines}
