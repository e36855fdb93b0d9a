"""`make kills`: relay, ledger, bridge and client are killed in turn, under load. Then the books are judged.

Nothing may be charged twice or without a receipt, no receipt may be lost, and each difference between the
client's bills and the books must follow from a rule (spec/protocol.md, annex E).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from blindrelay.client.account import Account, AccountStatement
from blindrelay.client.bill_journal import KeptExchange, read_journal
from blindrelay.client.connection_config import ConnectionConfig
from blindrelay.testbed import Testbed
from blindrelay.v1.accounts_pb2 import LineState
from blindrelay.v1.receipts_pb2 import Receipt

PARTS: Final = ("relay", "ledger", "bridge", "client")

SETTLING_SECONDS: Final = 120.0
"""After the last kill, for every receipt to reach the books."""

_LOOK_SECONDS: Final = 0.5
_ROOT: Final = Path(__file__).resolve().parents[2]


@dataclass
class Verdict:
    """What was found when the load had ended.

    Attributes:
        exchanges: that the client began.
        receipts: that the client has of them.
        states: lines of the relay's statement by state.
        check: what `blindrelay-ledger check` says.
        complaints: what no rule explains.
    """

    exchanges: int
    receipts: int
    states: Counter[str]
    check: Mapping[str, Any]
    complaints: list[str] = field(default_factory=list)


class KillLoop:
    """A testbed with a ledger, and a client process with bills of its own."""

    def __init__(self, bed: Testbed, state: Path, seed: int = 0) -> None:
        self._bed = bed
        self._state = state
        self._chance = random.Random(seed)
        self._client = self._started_client()

    def run(self, rounds: int) -> None:
        """Kills one part after another at random moments, and starts it again."""
        for number in range(rounds):
            time.sleep(self._chance.uniform(0.05, 0.4))
            part = PARTS[number % len(PARTS)]
            if part == "client":
                self.stop_client()
                self._client = self._started_client()
            else:
                self._bed.kill(part)
                self._bed.start(part)

    def run_until_posted(self, lines: int) -> None:
        """Goes on without kills until so many lines are posted and the client has as many receipts."""
        deadline = time.monotonic() + SETTLING_SECONDS
        while time.monotonic() < deadline:
            posted = _states(self._statement())["posted"]
            kept = read_journal(self._state / "bills" / "journal")
            if min(posted, _receipts(kept)) >= lines:
                break
            time.sleep(_LOOK_SECONDS)

    def stop_client(self) -> None:
        """Ends the load, as a crash would."""
        self._client.kill()
        self._client.wait()
        if self._client.stdout is not None:
            self._client.stdout.close()

    def judge(self) -> Verdict:
        """Waits until the books have settled, and compares them with what the client keeps."""
        deadline = time.monotonic() + SETTLING_SECONDS
        while True:
            kept, statement = read_journal(self._state / "bills" / "journal"), self._statement()
            complaints = list(_complaints(kept, statement))
            if not complaints or time.monotonic() > deadline:
                break
            time.sleep(_LOOK_SECONDS)
        check = self._check()
        if not check["balanced"]:
            complaints.append(f"the books do not balance: {check}")
        if (orphans := orphans_of(kept, statement)) > check["orphans"]:
            complaints.append(f"{orphans} receipts are not in the statement, {check['orphans']} of them kept")
        if check["contradictions"]:
            complaints.append(f"{check['contradictions']} receipts contradict others")
        return Verdict(len(kept), _receipts(kept), _states(statement), check, complaints)

    def _started_client(self) -> subprocess.Popen[str]:
        client = subprocess.Popen(
            [sys.executable, "-m", "tests.soak.paying_client", self._bed.relay],
            cwd=_ROOT,
            env={**os.environ, "BLINDRELAY_STATE": str(self._state)},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert client.stdout is not None
        assert client.stdout.readline() == "paying\n"
        return client

    def _statement(self) -> AccountStatement:
        async def fetched() -> AccountStatement:
            async with Account(ConnectionConfig.from_string(self._bed.relay)) as account:
                return await account.statement("")

        return asyncio.run(fetched())

    def _check(self) -> dict[str, Any]:
        assert self._bed.ledger is not None
        command = [sys.executable, "-m", "blindrelay.ledger", "check", "--json"]
        done = subprocess.run(
            [*command, "--config", str(self._bed.ledger.config)], capture_output=True, text=True, check=False
        )
        checked: dict[str, Any] = json.loads(done.stdout)
        return checked


def _complaints(kept: Mapping[bytes, KeptExchange], statement: AccountStatement) -> Iterator[str]:
    lines = {line.envelope_hash: line for line in statement.lines}
    if len(lines) < len(statement.lines):
        yield "an exchange is charged twice"
    if statement.charged != sum(line.units for line in statement.lines):
        yield "the sum is not that of the lines"
    for line in statement.lines:
        name = line.envelope_hash.hex()[:8]
        receipt = Receipt.FromString(line.receipt.receipt) if line.receipt.receipt else None
        if line.units and (line.state != LineState.LINE_STATE_POSTED or receipt is None):
            yield f"{name} is charged without a receipt"
        if receipt is not None and line.state == LineState.LINE_STATE_POSTED and line.units != receipt.units:
            yield f"{name} is charged {line.units} units, and the receipt says {receipt.units}"
        if line.envelope_hash not in kept:
            yield f"{name} is in the books, and the client did not send it"
    for envelope_hash, exchange in kept.items():
        yield from _lost(envelope_hash, exchange, lines.get(envelope_hash))


def _lost(envelope_hash: bytes, exchange: KeptExchange, line: Any) -> Iterator[str]:
    """A receipt of the client is in the books, unless the relay's line was lost: then it is an orphan."""
    if len(exchange.receipts) > 1:
        yield f"{envelope_hash.hex()[:8]} has {len(exchange.receipts)} receipts"
    for kept in exchange.receipts:
        units = Receipt.FromString(kept.signed.receipt).units
        if line is None or not units:
            continue
        if line.state != LineState.LINE_STATE_POSTED or line.receipt != kept.signed:
            yield f"{envelope_hash.hex()[:8]} has a receipt of {units} units that is not in the books"


def _receipts(kept: Mapping[bytes, KeptExchange]) -> int:
    return sum(bool(each.receipts) for each in kept.values())


def _states(statement: AccountStatement) -> Counter[str]:
    names = (LineState.Name(line.state).removeprefix("LINE_STATE_").lower() for line in statement.lines)
    return Counter(names)


def orphans_of(kept: Mapping[bytes, KeptExchange], statement: AccountStatement) -> int:
    """Receipts of exchanges that no relay has reported: a killed relay took the line along."""
    lines = {line.envelope_hash for line in statement.lines}
    return sum(bool(each.receipts) and name not in lines for name, each in kept.items())


@contextmanager
def kill_loop(seed: int = 0) -> Iterator[KillLoop]:
    """A loop with its load running."""
    with (
        tempfile.TemporaryDirectory(prefix="blindrelay-kills-") as state,
        Testbed("scripted", ledger=True) as bed,
    ):
        loop = KillLoop(bed, Path(state), seed)
        try:
            yield loop
        finally:
            loop.stop_client()


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200, help="how many kills (default 200)")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(argv)
    with kill_loop(given.seed) as loop:
        loop.run(given.rounds)
        loop.stop_client()
        verdict = loop.judge()
    print(
        f"{given.rounds} kills, {verdict.exchanges:,} exchanges, {verdict.receipts:,} receipts at the client"
    )
    print("lines:", ", ".join(f"{count:,} {state}" for state, count in sorted(verdict.states.items())))
    print("check:", json.dumps(verdict.check))
    print("\n".join(verdict.complaints) or "the books balance, and a rule explains each difference")
    return 1 if verdict.complaints else 0


if __name__ == "__main__":
    sys.exit(main())
