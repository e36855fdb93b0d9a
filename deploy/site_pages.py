"""Writes what the site is built from, and looks through what was built (make site).

    python -m deploy.site_pages fill build     site-pages/ and zensical.toml into this folder
    python -m deploy.site_pages check build/site

Pages keep their places in the repository, so a relative link leads to the same file here and there. A link
to a file or folder that the site does not have, such as source code, stays as its text. The list of decisions
and the pages of the API reference are made here.
"""

from __future__ import annotations

import ast
import json
import posixpath
import re
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
CONFIG: Final = ROOT / "deploy" / "site.toml"
STYLE: Final = ROOT / "deploy" / "site.css"

PACKAGES: Final = ("client", "sealing", "trust", "serving", "relay_node", "provider_bridge", "testing")
"""Those whose `__all__` has a page."""

SHOWN: Final = re.compile(r"(README|SECURITY|CONTRIBUTING|CHANGELOG)\.md|(docs|spec)/.+\.(md|png|svg|csv)")
"""Tracked files that the site has."""

SYNTAX: Final = re.compile(
    r"^ *(?P<fence>```+|~~~+).*?^ *(?P=fence) *$"
    r"|(?P<ticks>`+)(?!`).+?(?<!`)(?P=ticks)(?!`)"
    r"|!?\[(?P<text>(?:[^\[\]]|\[[^\[\]]*\])*)\]\((?P<target>[^()\s]+)(?: \"[^\"]*\")?\)",
    re.MULTILINE | re.DOTALL,
)
"""Code, which is passed over, or a link or an image with its target."""

ELSEWHERE: Final = r"(?:https?:)?//[^\s\"'>)]+"
LOADING_TAG: Final = re.compile(
    r"<(?:link|script|img|iframe|source|video|audio|object|embed)\b(?:[^>\"']|\"[^\"]*\"|'[^']*')*?"
    rf"\s(?:href|src|srcset|data)\s*=\s*[\"']?({ELSEWHERE})",
    re.IGNORECASE,
)
LOADING_STYLE: Final = re.compile(rf"(?:url\(|@import)\s*[\"']?({ELSEWHERE})", re.IGNORECASE)
"""With LOADING_TAG: what a browser would fetch from another host to show a page."""


def main(arguments: Sequence[str]) -> int:
    """Runs one of the two commands; returns its exit code."""
    match arguments:
        case ["fill", folder]:
            fill(Path(folder))
            return 0
        case ["check", folder]:
            wrong = [f"The site would fetch {each}\n" for each in fetched(Path(folder))]
            wrong += [f"The API reference lacks {each}\n" for each in lacking(Path(folder))]
            sys.stderr.writelines(wrong)
            return 1 if wrong else 0
        case _:
            sys.stderr.write("usage: python -m deploy.site_pages fill|check FOLDER\n")
            return 2


def fill(folder: Path) -> None:
    """Writes the pages and the configuration with the menu of them."""
    shutil.rmtree(folder / "site-pages", ignore_errors=True)
    shown = [path for path in tracked() if SHOWN.fullmatch(path)]
    pages = {path: (ROOT / path).read_text() for path in shown if path.endswith(".md")}
    pages |= made(pages)
    for path, text in pages.items():
        write(folder / "site-pages" / path, with_links(text, path, {*shown, *pages}).encode())
    for path in shown:
        if path not in pages:
            write(folder / "site-pages" / path, (ROOT / path).read_bytes())
    shutil.copy(STYLE, folder / "site-pages")
    write(folder / "zensical.toml", with_menu(CONFIG.read_text(), pages).encode())


def tracked() -> list[str]:
    """What git tracks here and is there, relative to the root."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True)
    return [path for path in listed.stdout.split("\0") if path and (ROOT / path).is_file()]


def made(pages: Mapping[str, str]) -> dict[str, str]:
    """The pages that no file holds: the list of decisions and the API reference."""
    decisions = sorted(path for path in pages if path.startswith("docs/adr/"))
    listed = [f"* [{title(pages[path])}]({posixpath.basename(path)})" for path in decisions]
    packages = [f"* [blindrelay.{name}]({name}.md)" for name in PACKAGES]
    return {
        "docs/adr/index.md": "\n".join(["# Decisions", "", *listed, ""]),
        "api/index.md": "\n".join(["# API reference", "", "What each package offers.", "", *packages, ""]),
        **{f"api/{name}.md": reference(name) for name in PACKAGES},
    }


def reference(package: str) -> str:
    """A package's page. A function with its module's name is asked for by itself: the module hides it."""
    page = f"# blindrelay.{package}\n\n::: blindrelay.{package}\n"
    for name in offered(package):
        if (ROOT / package / "blindrelay" / package / f"{name}.py").exists():
            page += f"\n::: blindrelay.{package}.{name}.{name}\n    options:\n      show_root_heading: true\n"
    return page


def title(text: str) -> str:
    """A page's first heading, without its mark."""
    return next(line for line in text.splitlines() if line.startswith("# ")).removeprefix("# ")


def with_links(text: str, page: str, site: Collection[str]) -> str:
    """The page: a link to a folder leads to its index, one to what the site lacks is its text."""

    def mended(found: re.Match[str]) -> str:
        target = found["target"]
        if target is None or not is_relative(target):
            return found[0]
        path, anchor = place(page, target)
        if path in site:
            return found[0]
        for index in (posixpath.join(path, name) for name in ("README.md", "index.md")):
            if index in site:
                start = posixpath.dirname(page) or "."
                return f"[{found['text']}]({posixpath.relpath(index, start)}{anchor})"
        return found["text"]

    return SYNTAX.sub(mended, text)


def links(text: str) -> list[str]:
    """The relative targets of a page's links and images, in order; a picture that is a link has two."""
    targets: list[str] = []
    for found in SYNTAX.finditer(text):
        if found["target"] is not None:
            targets += [*links(found["text"]), *filter(is_relative, [found["target"]])]
    return targets


def is_relative(target: str) -> bool:
    """Whether it leads to this repository."""
    return not re.match(r"[a-z][a-z0-9+.-]*:|//", target)


def place(page: str, target: str) -> tuple[str, str]:
    """The path that a relative target names, from the root, and its anchor with the mark, or nothing."""
    path, mark, anchor = target.partition("#")
    whole = posixpath.normpath(posixpath.join(posixpath.dirname(page), path)) if path else page
    return whole, mark + anchor


def with_menu(config: str, pages: Collection[str]) -> str:
    """The configuration with the pages that it does not name in place of their "FOLDER/*", index first."""

    def inside(found: re.Match[str]) -> str:
        left = [
            page
            for page in pages
            if posixpath.dirname(page) == found["folder"] and json.dumps(page) not in config
        ]
        left.sort(key=lambda page: (not page.endswith(("/README.md", "/index.md")), page))
        return "".join(f"{json.dumps(page)}, " for page in left)

    return re.sub(r'"(?P<folder>[a-z/]+)/\*",?', inside, config)


def fetched(site: Path) -> Iterator[str]:
    """What pages, pictures and styles would load from another host, each with its file."""
    for path in sorted(site.rglob("*")):
        pattern = {".html": LOADING_TAG, ".svg": LOADING_TAG, ".css": LOADING_STYLE}.get(path.suffix)
        for found in pattern.finditer(path.read_text()) if pattern else ():
            yield f"{found[1]} in {path.relative_to(site)}"


def lacking(site: Path) -> Iterator[str]:
    """What a package offers and its page does not show."""
    for package in PACKAGES:
        page = (site / "api" / package / "index.html").read_text()
        for name in offered(package):
            if not re.search(rf'id="blindrelay\.{package}(\.{name}){{1,2}}"', page):
                yield f"blindrelay.{package}.{name}"


def offered(package: str) -> list[str]:
    """The package's `__all__`, read and not imported."""
    source = (ROOT / package / "blindrelay" / package / "__init__.py").read_text()
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    raise ValueError(f"blindrelay.{package} has no __all__")


def write(path: Path, content: bytes) -> None:
    """Writes a file and makes its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
