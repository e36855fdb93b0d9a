"""docs/architecture.md: the picture shows the real imports, and every file that it names exists."""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from functools import cache
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/architecture.md").read_text()
ROOMS = {folder.name: folder for folder in ROOT.glob("*/blindrelay/*/") if (folder / "__init__.py").is_file()}
MOST_TERMS = 40
ANY = {"testing", "testbed"}
"""Rooms that may import everything above them, and any library."""

LIBRARIES = {"google": "protobuf"}
"""Import names that differ from the library's."""

Imports = dict[str, set[str]]


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def rows(text: str) -> list[list[str]]:
    """The cells of a Markdown table, without its first two lines."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def drawn() -> Imports:
    """The picture's dots: for each room, the rooms that it imports."""
    picture = re.findall(r"```\n(.*?)```", section("Packages"), re.DOTALL)[0].splitlines()
    columns = {match[0]: match.start() for match in re.finditer(r"\w+", picture[0])}
    return {
        line.split()[0]: {room for room, at in columns.items() if line[at : at + 1] == "●"}
        for line in picture[1:]
    }


def listed() -> Imports:
    """The table's libraries, by room."""
    return {
        room.strip("`"): set(libraries.split(", ")) for room, _, _, libraries in rows(section("Packages"))
    }


@cache
def real() -> tuple[Imports, Imports]:
    """What each room really imports: other rooms, and libraries."""
    rooms: Imports = defaultdict(set)
    libraries: Imports = defaultdict(set)
    graph = grimp.build_graph(
        *(f"blindrelay.{room}" for room in ROOMS), include_external_packages=True, cache_dir=None
    )
    for module in graph.modules:
        top, _, rest = module.partition(".")
        room = rest.partition(".")[0]
        for imported in graph.find_modules_directly_imported_by(module) if top == "blindrelay" else ():
            package, _, inside = imported.partition(".")
            if package == "blindrelay":
                rooms[room] |= {inside.partition(".")[0]} - {room}
            elif package not in sys.stdlib_module_names:
                libraries[room].add(LIBRARIES.get(package, package))
    return rooms, libraries


def paths() -> set[str]:
    return set(re.findall(r"`([\w/]+(?:/|\.py|\.toml))`", PAGE))


def exists(path: str) -> bool:
    """Whether a file or folder of the repository, or a module's path as it is imported, exists."""
    room, _, rest = path.partition("/")
    return (ROOT / path).exists() or (room in ROOMS and (ROOMS[room] / rest).exists())


def test_the_picture_has_every_room() -> None:
    assert set(drawn()) == set(listed()) == set(ROOMS)


def test_the_picture_shows_the_real_imports() -> None:
    rooms, _ = real()
    exact = {room: imports for room, imports in drawn().items() if room not in ANY}
    assert exact == {room: rooms[room] for room in exact}
    for room in ANY & set(ROOMS):
        assert rooms[room] <= drawn()[room]


def test_no_room_imports_one_below_it() -> None:
    order = list(drawn())
    for room, imports in drawn().items():
        assert all(order.index(imported) < order.index(room) for imported in imports)


def test_the_table_lists_the_real_libraries() -> None:
    _, libraries = real()
    exact = {room: each for room, each in listed().items() if room not in ANY}
    assert exact == {room: libraries[room] for room in exact}


def test_every_named_file_exists() -> None:
    assert {"client/sender.py", "relay_node/service.py", "provider_bridge/exchange.py"} <= paths()
    assert [path for path in sorted(paths()) if not exists(path)] == []


def test_the_ways_pass_no_file_twice() -> None:
    for way in ("The path of a request", "The path of a response"):
        files = [file for file, _ in rows(section(way))]
        assert files
        assert len(set(files)) == len(files)


def test_the_glossary_stays_short() -> None:
    terms = rows(section("Glossary"))
    assert 0 < len(terms) <= MOST_TERMS
