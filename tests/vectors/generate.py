"""Writes the vectors from fixed inputs. The result is always the same.

python tests/vectors/generate.py             writes every file, and removes those that no scenario makes
python tests/vectors/generate.py --check     compares; exit code 1 and a list where something differs
python tests/vectors/generate.py --freeze-new-encapsulations
                                            draws new frozen HPKE inputs, which changes every vector
                                            that uses them. Not part of ordinary work.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from generator import (
    bills,
    cells,
    claims,
    directions,
    directories,
    encapsulations,
    envelopes,
    exchanges,
    fixed,
    heads,
    histories,
    identities,
    nonces,
    paddings,
    price_tables,
    reasons,
    roundings,
    tunnel_cells,
    tunnels,
    watermarks,
)

HERE = Path(__file__).parents[2] / "spec" / "vectors"


def wanted() -> dict[str, str]:
    """Every vector's path, relative to this folder, and its text."""
    modules = (
        claims,
        identities,
        envelopes,
        directories,
        histories,
        reasons,
        encapsulations,
        paddings,
        directions,
        nonces,
        heads,
        cells,
        exchanges,
        tunnels,
        tunnel_cells,
        roundings,
        bills,
        price_tables,
        watermarks,
    )
    scenarios = list(chain.from_iterable(module.scenarios() for module in modules))
    files = {scenario.path: scenario.text for scenario in scenarios}
    if len(files) != len(scenarios):
        raise ValueError("two scenarios have one name")
    return files


def present() -> Iterator[str]:
    for path in HERE.glob("*/*.json"):
        if path.parent.name != "inputs":
            yield path.relative_to(HERE).as_posix()


def differences() -> list[str]:
    files = wanted()
    stale = [path for path, text in files.items() if not _holds(HERE / path, text)]
    return sorted(stale + [path for path in present() if path not in files])


def _holds(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


def write() -> None:
    files = wanted()
    for path in set(present()) - set(files):
        (HERE / path).unlink()
    for path, text in files.items():
        (HERE / path).parent.mkdir(exist_ok=True)
        (HERE / path).write_text(text, encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description="Writes or checks the vectors.")
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--check", action="store_true", help="compare, write nothing")
    action.add_argument("--freeze-new-encapsulations", action="store_true", help="draw new frozen inputs")
    options = parser.parse_args()
    if options.freeze_new_encapsulations:
        fixed.freeze_encapsulations()
    if not options.check:
        write()
        return 0
    for path in (different := differences()):
        print(f"spec/vectors/{path} is not what the generator makes: run make vectors", file=sys.stderr)
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
