"""What `blindrelay bill` prints: text, JSON or CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from blindrelay.client.commands.bill.items import Item, Total, exact_units, per_day
from blindrelay.client.commands.terminal import one_line

_DAY_COLUMNS: Final = ("day", "model", "key", "exchanges", "units", "exact_units")
_EXCHANGE_COLUMNS: Final = (
    "time",
    "exchange",
    "provider",
    "model",
    "key",
    "basis",
    "units",
    "exact_units",
    "counts",
)


def bill_json(items: Sequence[Item], refused: int, each: bool) -> dict[str, Any]:
    """The sums of all, and a row for each day, model and key, or for each exchange."""
    total = Total.of(items)
    return {
        "exchanges": total.exchanges,
        "units": total.units,
        "exact_units": float(exact_units(total.cost)),
        "estimated": total.estimated,
        "without_receipt": total.without_receipt,
        "refused": refused,
        "rows": list(_exchange_rows(items)) if each else list(_day_rows(items)),
    }


def bill_csv(items: Sequence[Item], each: bool) -> str:
    """The rows, with a line of column names."""
    text = io.StringIO()
    columns = _EXCHANGE_COLUMNS if each else _DAY_COLUMNS
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for row in _exchange_rows(items) if each else _day_rows(items):
        counts = row.get("counts")
        writer.writerow(row if counts is None else {**row, "counts": _counts(counts)})
    return text.getvalue()


def bill_text(items: Sequence[Item], refused: int, each: bool) -> Iterator[str]:
    """The rows for people, and the sums."""
    total = Total.of(items)
    if not items:
        yield "No exchanges are kept."
    elif each:
        yield from _exchange_lines(items)
    else:
        yield from _day_lines(items)
    if items:
        yield (
            f"{_count(total.exchanges, 'exchange')}: {total.units:,} units charged, "
            f"{exact_units(total.cost):,.6f} exactly"
        )
    if total.estimated:
        yield f"{_count(total.estimated, 'exchange')} estimated by the bridge"
    if total.without_receipt:
        missing = _count(total.without_receipt, "exchange")
        yield f"{missing} without a receipt: `blindrelay bill verify` asks the relay for it"
    if refused:
        yield f"{_count(refused, 'exchange')} refused by the relay, not charged"


def _day_rows(items: Iterable[Item]) -> Iterator[dict[str, Any]]:
    for (day, model, key), total in per_day(items).items():
        yield {
            "day": day,
            "model": model,
            "key": key,
            "exchanges": total.exchanges,
            "units": total.units,
            "exact_units": float(exact_units(total.cost)),
        }


def _exchange_rows(items: Iterable[Item]) -> Iterator[dict[str, Any]]:
    for item in items:
        yield {
            "time": item.time,
            "exchange": item.envelope_hash.hex(),
            "provider": item.provider,
            "model": item.model,
            "key": item.key,
            "basis": item.basis,
            "units": item.units,
            "exact_units": None if item.units is None else float(exact_units(item.cost)),
            "counts": dict(item.counts),
        }


def _day_lines(items: Iterable[Item]) -> Iterator[str]:
    rows = per_day(items)
    width = max(len("model"), *(len(one_line(model)) for _, model, _ in rows))
    yield f"{'day':<10}  {'model':<{width}}  {'key':<8}  {'exchanges':>9}  {'units':>12}  {'exact':>18}"
    for (day, model, key), total in rows.items():
        exact = f"{exact_units(total.cost):,.6f}"
        yield (
            f"{day:<10}  {one_line(model):<{width}}  {key:<8}  {total.exchanges:>9,}  "
            f"{total.units:>12,}  {exact:>18}"
        )


def _exchange_lines(items: Iterable[Item]) -> Iterator[str]:
    for item in items:
        if item.units is None:
            yield f"{item.time}  {item.envelope_hash.hex()[:16]}  no receipt"
            continue
        exact = f"{exact_units(item.cost):,.6f}"
        yield (
            f"{item.time}  {item.envelope_hash.hex()[:16]}  {one_line(item.model)}  {item.units:,} units "
            f"({exact}), {item.basis}: {_counts(item.counts) or 'nothing counted'}"
        )


def _counts(counts: Any) -> str:
    return " ".join(f"{name}={amount}" for name, amount in counts.items())


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")
