"""The outcomes of attacks, for people and for programs."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import zip_longest
from typing import Final

from blindrelay.testbed.attacks.attack import Attack
from blindrelay.testbed.attacks.bills import BillAttack, BillRow
from blindrelay.testbed.attacks.run import Row
from blindrelay.testbed.demo.report import heading

_COLUMNS: Final = ("attack", "the client got", "the bridge did", "stopped by", "twin without it", "verdict")

_BILL_COLUMNS: Final = ("attack", "stopped by", "twin without it", "verdict")

_LEGEND: Final = (
    "the client got    how the exchange ended for the client",
    "the bridge did    its calls to the provider, and how its side ended",
    "stopped by        the rule that stops the attack",
    "twin without it   the same attack on a part without that rule: it succeeds",
    "verdict           as expected: the attack failed, and its twin succeeded",
)
"""What the columns mean."""

_GAP: Final = "  "
_PIPE: Final = (1_000, 24)
"""The size if there is no terminal: lines are not folded."""


def listed(attacks: Iterable[Attack | BillAttack]) -> str:
    """Names and sentences."""
    attacks = list(attacks)
    width = max(len(attack.name) for attack in attacks)
    return "\n".join(f"{attack.name:{width}}  {attack.about}" for attack in attacks)


def table(rows: Sequence[Row]) -> str:
    """A row for each attack, with its surprises below it, and a last line that counts them."""
    cells = [_COLUMNS, *(_cells(row) for row in rows)]
    return _shown(cells, [row.surprises for row in rows], "attacks", _LEGEND)


def described(row: Row) -> dict[str, object]:
    """A row for programs."""
    attack, outcome = row.attack, row.outcome
    return {
        "attack": attack.name,
        "about": attack.about,
        "client_got": list(outcome.ends),
        "provider_calls": outcome.calls,
        "bridge_said": list(outcome.bridge_said),
        "stopped_by": attack.stopped_by,
        "served_after": outcome.served_after,
        "twin_shows": attack.proof.says,
        "twin_got": list(row.twin.ends),
        "twin_provider_calls": row.twin.calls,
        "as_expected": row.as_expected,
        "surprises": list(row.surprises),
    }


def bill_table(rows: Sequence[BillRow]) -> str:
    """A row for each attack on bills, as in table()."""
    cells = [
        _BILL_COLUMNS,
        *(
            (row.attack.name, row.attack.stopped_by, row.attack.shows, _verdict(row.as_expected))
            for row in rows
        ),
    ]
    return _shown(cells, [row.surprises for row in rows], "attacks on bills")


def bill_described(row: BillRow) -> dict[str, object]:
    """A row for programs."""
    attack = row.attack
    return {
        "attack": attack.name,
        "about": attack.about,
        "stopped_by": attack.stopped_by,
        "twin_shows": attack.shows,
        "as_expected": row.as_expected,
        "surprises": list(row.surprises),
    }


def progress(total: int) -> Callable[[Attack | None], None]:
    """Returns a function that shows the running attack on a terminal's stderr, and clears it for None."""
    if not sys.stderr.isatty():
        return lambda _: None
    count = 0

    def tell(attack: Attack | None) -> None:
        nonlocal count
        count += 1
        said = f"{count}/{total} {attack.name}" if attack is not None else ""
        width = shutil.get_terminal_size().columns - 1
        sys.stderr.write(f"\r{said[:width]:{width}}\r")
        sys.stderr.flush()

    return tell


def _shown(
    cells: Sequence[Sequence[str]],
    surprises: Sequence[Sequence[str]],
    what: str,
    legend: Sequence[str] = (),
) -> str:
    """The rows, the first of which is a heading, with their surprises; and a last line that counts them."""
    widths = _fitting([max(map(len, column)) for column in zip(*cells, strict=True)])
    shown = [heading(_folded(cells[0], widths))]
    for line, found in zip(cells[1:], surprises, strict=True):
        shown += [_folded(line, widths), *(f"    {surprise}" for surprise in found)]
    expected = sum(not found for found in surprises)
    words = [*legend, ""] if legend else []
    return "\n".join(
        [*shown, "", *words, f"{expected} of {len(surprises)} {what} as expected, each with its twin"]
    )


def _verdict(as_expected: bool) -> str:
    return "as expected" if as_expected else "SURPRISE"


def _cells(row: Row) -> tuple[str, ...]:
    calls = row.outcome.calls
    said = _counted(said.partition(":")[0] for said in row.outcome.bridge_said) or "no end"
    did = f"{calls} call{'' if calls == 1 else 's'}, {said}" if row.outcome.passages else "not asked"
    return (
        row.attack.name,
        _counted(row.outcome.ends),
        did,
        row.attack.stopped_by,
        row.attack.proof.says,
        _verdict(row.as_expected),
    )


def _counted(words: Iterable[str]) -> str:
    return ", ".join(f"{word} ({count})" if count > 1 else word for word, count in Counter(words).items())


def _fitting(widths: list[int]) -> list[int]:
    """Narrows the widest columns until a line fits into the terminal, or into 80 columns."""
    room = max(80, shutil.get_terminal_size(_PIPE).columns) - len(_GAP) * (len(widths) - 1)
    while sum(widths) > room:
        widths[widths.index(max(widths))] -= 1
    return widths


def _folded(cells: Sequence[str], widths: Sequence[int]) -> str:
    """A row of cells, each folded within its column."""
    columns = [textwrap.wrap(cell, width) for cell, width in zip(cells, widths, strict=True)]
    lines = [
        _GAP.join(f"{part:{width}}" for part, width in zip(parts, widths, strict=True)).rstrip()
        for parts in zip_longest(*columns, fillvalue="")
    ]
    return "\n".join(lines)
