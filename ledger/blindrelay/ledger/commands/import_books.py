"""`import`: moves the books from a SQLite file to where the configuration wants them."""

from __future__ import annotations

import argparse
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from blindrelay.ledger.books import Books, BooksError, Check, InvalidError
from blindrelay.ledger.commands.admin_command import Shown, Subcommands, show
from blindrelay.ledger.config import read_ledger_config
from blindrelay.ledger.only_ledger import only_ledger
from blindrelay.serving import ConfigError, StartError


def add_import_commands(commands: Subcommands) -> None:
    """Adds `import`."""
    command = commands.add_parser("import", help="copy the books in a file into the empty ones of --config")
    command.add_argument(
        "--from",
        dest="source",
        required=True,
        type=Path,
        metavar="FILE",
        help="the SQLite file of a stopped ledger",
    )
    command.add_argument(
        "--config", required=True, type=Path, metavar="FILE", help="a ledger.toml with empty books"
    )
    command.add_argument("--json", action="store_true", help="print one JSON object")
    command.set_defaults(run=_import)


def import_books(source: Path, target: Path | str) -> tuple[dict[str, int], Check]:
    """Copies the books and checks the copy. Returns the rows of each table, and what `check` says.

    Raises ConfigError if there is no such source or the target has books, StartError if either is in use.
    """
    if not source.is_file():
        raise ConfigError(f"{source}: there is no such file")
    if isinstance(target, Path) and target.exists() and target.samefile(source):
        raise ConfigError(f"{source}: these are the books of the configuration: give it new ones")
    try:
        with _not_served(source), _not_served(target), Books(source) as old, Books(target) as new:
            return old.copy_to(new), new.check()
    except InvalidError as error:
        raise ConfigError(f"nothing was copied: {error}") from None
    except BooksError as error:
        raise StartError(str(error)) from None


def _not_served(place: Path | str) -> AbstractContextManager[None]:
    """A database needs no lock: a ledger writes to it when it starts, and then it is not empty."""
    return only_ledger(place) if isinstance(place, Path) else nullcontext()


def _import(given: argparse.Namespace) -> int:
    copied, found = import_books(given.source, read_ledger_config(given.config).books)
    fields = {"copied": copied, "balanced": found.balanced, "open": found.open}
    lines = [f"copied {rows:,} of {table.replace('_', ' ')}" for table, rows in copied.items()]
    lines.append(f"balanced: {found.balanced}")
    if not found.balanced:
        fields["problems"] = list(found.problems)
        lines += found.problems
    return show(Shown(fields, lines, exit_code=0 if found.balanced else 1), given.json)
