"""The command: python -m blindrelay.testbed attack."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, TypeVar

from blindrelay.testbed.attacks.attack import Attack
from blindrelay.testbed.attacks.bills import BILL_ATTACKS, BillAttack, run_bill_attack
from blindrelay.testbed.attacks.catalogue import ATTACKS, named
from blindrelay.testbed.attacks.report import (
    bill_described,
    bill_table,
    described,
    listed,
    progress,
    table,
)
from blindrelay.testbed.attacks.run import Row, run_attacks
from blindrelay.testbed.errors import TestbedError, UnavailableError
from blindrelay.testbed.topology import Testbed

T = TypeVar("T")

_ALL: Final[dict[str, Attack | BillAttack]] = {
    **{attack.name: attack for attack in ATTACKS},
    **{attack.name: attack for attack in BILL_ATTACKS},
}


def run_command(names: Sequence[str], *, everything: bool, only_list: bool, as_json: bool) -> None:
    """Runs attacks and shows their outcomes; or lists them.

    Raises TestbedError if anything was not as expected, UnavailableError for an unknown name.
    """
    all_of_them = everything or (only_list and not names)
    chosen = list(_ALL.values()) if all_of_them else named(names, _ALL)
    if not chosen:
        raise UnavailableError("say which attacks to run: names, or --all; --list shows them")
    if only_list:
        print(listed(chosen))
        return
    rows = _run_all([each for each in chosen if isinstance(each, Attack)])
    bill_rows = [run_bill_attack(each) for each in chosen if isinstance(each, BillAttack)]
    if as_json:
        objects = [*map(described, rows), *map(bill_described, bill_rows)]
        print("\n".join(json.dumps(each) for each in objects))
    else:
        tables = [table(rows) if rows else "", bill_table(bill_rows) if bill_rows else ""]
        print("\n\n".join(filter(None, tables)))
    sys.stdout.flush()
    verdicts = [*(row.as_expected for row in rows), *(row.as_expected for row in bill_rows)]
    if surprises := verdicts.count(False):
        raise TestbedError(f"{surprises} of {len(chosen)} attacks were not as expected")


def _run_all(attacks: Sequence[Attack]) -> list[Row]:
    """Runs attacks on exchanges, against real parts."""
    if not attacks:
        return []
    # The client logs the directories that it refuses: those are expected here.
    logging.getLogger("blindrelay").addHandler(logging.NullHandler())
    tell = progress(len(attacks))
    try:
        with Testbed("scripted", replicas=2) as bed:
            return _interruptible(lambda: run_attacks(bed, attacks, tell))
    finally:
        tell(None)


def _interruptible(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Runs a coroutine in a new event loop. An interrupt cancels it, and is raised when it has ended.

    An exception raised within asyncio itself would leave a loop that logs errors.
    """
    interrupted = False
    tasks: list[asyncio.Task[T]] = []

    def interrupt(*_: object) -> None:
        nonlocal interrupted
        interrupted = True
        # gRPC's server logs errors if it is stopped while it starts.
        logging.getLogger("asyncio").disabled = True
        for task in tasks:
            task.get_loop().call_soon_threadsafe(task.cancel)

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with asyncio.Runner() as runner:
            tasks.append(runner.get_loop().create_task(work()))
            if interrupted:
                tasks[0].cancel()
            return runner.get_loop().run_until_complete(tasks[0])
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
