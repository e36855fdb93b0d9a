"""A testbed with a ledger: accounts, limits and bills from the client to the books, in real processes."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from blindrelay.client import SealedTransport
from blindrelay.testbed import Testbed
from tests.patience import PATIENCE

URL = "https://api.openai.com/v1/chat/completions"
SOONEST_SECONDS = 10.0
"""After the loss of a relay, others may start for its accounts after 12 s at the earliest."""


@pytest.fixture(scope="module")
def bed() -> Iterator[Testbed]:
    with Testbed("scripted", ledger=True) as bed:
        yield bed


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BLINDRELAY_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


def ledger(bed: Testbed, *command: str) -> dict[str, Any]:
    """What a command of the ledger prints."""
    assert bed.ledger is not None
    return run("blindrelay.ledger", *command, "--config", str(bed.ledger.config), "--json")


def run(module: str, *arguments: str, code: int = 0) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    printed: dict[str, Any] = json.loads(done.stdout)
    return printed


def account(bed: Testbed, name: str, units: int = 0) -> str:
    """Makes an account, and returns a connection string of its own."""
    ledger(bed, "account", "add", name)
    if units:
        ledger(bed, "credit", name, str(units), "--reference", "test")
    token = ledger(bed, "token", "issue", name)["token"]
    return bed.relay.replace(bed.token, token)


def ask(connection: str, *texts: str) -> list[httpx2.Response]:
    with SealedTransport(connection) as sealed, sealed.httpx2_client() as client:
        return [
            client.post(URL, json={"model": "gpt-5.5", "messages": [], "scripted": {"text": text}})
            for text in texts
        ]


def settled(bed: Testbed, name: str, exchanges: int) -> dict[str, Any]:
    """The account's statement once it has so many posted lines."""
    deadline = time.monotonic() + PATIENCE
    while True:
        statement = ledger(bed, "statement", name)
        if sum(line["state"] == "posted" for line in statement["lines"]) >= exchanges:
            return statement
        assert time.monotonic() < deadline, statement


def test_an_exchange_is_charged_as_its_bill_says(bed: Testbed, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = account(bed, "customer", units=1_000_000)
    responses = ask(connection, "word " * 500, "word " * 50, "")
    bills = [response.extensions["blindrelay"] for response in responses]
    assert [response.status_code for response in responses] == [200, 200, 200]
    statement = settled(bed, "customer", 3)
    by_exchange = {line["exchange"]: line["units"] for line in statement["lines"]}
    assert by_exchange == {bill.envelope_hash.hex(): bill.units for bill in bills}
    assert statement["charged"] == sum(bill.units for bill in bills)
    assert statement["balance"] == 1_000_000 - statement["charged"]
    kept = run("blindrelay.client", "bill", "--json")
    assert (kept["exchanges"], kept["units"]) == (3, statement["charged"])
    monkeypatch.setenv("BLINDRELAY_CONNECTION", connection)
    verified = run("blindrelay.client", "bill", "verify", "--json")
    assert (verified["differences"], verified["charged"]) == ([], statement["charged"])


def test_without_units_an_exchange_gets_429(bed: Testbed) -> None:
    connection = account(bed, "poor")
    (response,) = ask(connection, "hello")
    assert response.status_code == 429
    assert int(response.headers["retry-after"]) >= 0
    ledger(bed, "credit", "poor", "1000", "--reference", "first")
    assert ask(connection, "hello")[0].status_code == 200


def test_after_the_loss_of_a_relay_a_client_is_told_when_to_come_back(bed: Testbed) -> None:
    """What the lost process could start is another's when it can start nothing any more."""
    connection = account(bed, "waiting", units=1_000_000)
    ledger(bed, "limit", "set", "waiting", "--overdraft", "0", "--max-units", "1_000_000")
    with SealedTransport(connection) as sealed, sealed.httpx2_client() as client:
        client.get("https://api.openai.com/v1/models")
    response = refused_after_a_loss(bed, connection)
    assert response.status_code == 429
    assert 1 <= int(response.headers["retry-after"]) <= 16
    assert "x-should-retry" not in response.headers
    assert _eventually(connection) == 200


def refused_after_a_loss(bed: Testbed, connection: str) -> httpx2.Response:
    """What a client is told by the next relay, which is lost in turn if it took too long to start."""
    served = 1
    while True:
        settled(bed, "waiting", served)  # now the relay may start one exchange, and nobody else any
        killed = time.monotonic()
        bed.kill("relay")
        bed.start("relay")
        (response,) = ask(connection, "hello")
        if response.status_code != 200:
            return response
        assert time.monotonic() - killed > SOONEST_SECONDS
        served += 1


async def test_a_thousand_exchanges_at_the_last_unit(bed: Testbed) -> None:
    """They begin at the same time, from several clients. The balance stays within its documented bound."""
    connection = account(bed, "last-unit", units=1)
    ledger(bed, "limit", "set", "last-unit", "--concurrent", "20")
    clients = [SealedTransport(f"{connection}&shape=off") for _ in range(20)]

    async def burst(transport: SealedTransport) -> list[int]:
        async with transport.async_httpx2_client(timeout=2 * PATIENCE) as client:
            body = {"model": "gpt-5.5", "messages": [], "scripted": {"text": "word " * 100}}
            responses = await asyncio.gather(*(client.post(URL, json=body) for _ in range(50)))
            return [response.status_code for response in responses]

    statuses = [status for found in await asyncio.gather(*map(burst, clients)) for status in found]
    assert set(statuses) == {200, 429}
    served = statuses.count(200)
    statement = settled(bed, "last-unit", served)
    assert statement["charged"] == sum(line["units"] for line in statement["lines"])
    assert statement["balance"] == 1 - statement["charged"] >= -statement["overdraft_bound"]
    assert served <= 20, "no more than may run at once have begun while there was a unit"


def test_the_books_balance(bed: Testbed) -> None:
    assert ledger(bed, "check")["balanced"] is True


def test_command_says_what_programs_need() -> None:
    command = [
        sys.executable,
        "-m",
        "blindrelay.testbed",
        "up",
        "--json",
        "--ledger",
        "--provider",
        "scripted",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        said = json.loads(process.stdout.readline())
        assert set(said["ledger"]) == {"admin", "page", "config"}
        assert set(said["pids"]) == {"provider", "bridge", "ledger", "relay"}
        assert set(said["commands"]) == {"bridge", "ledger", "relay"}
        assert ask(said["relay"], "hello")[0].status_code == 200
        for part in ("relay", "ledger", "bridge"):
            kill(said["pids"][part])
        again = [_started(said["commands"][part]) for part in ("bridge", "ledger", "relay")]
        assert process.poll() is None, "it stays up"
        try:
            assert _eventually(said["relay"]) == 200
        finally:
            for started in again:
                started.kill()
                started.communicate()
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)


def kill(pid: int) -> None:
    """Kills a process, and waits until its ports are free."""
    process = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(process, signal.SIGKILL)
        assert select.select([process], [], [], PATIENCE)[0]
    finally:
        os.close(process)


def _started(command: list[str]) -> subprocess.Popen[str]:
    """A part that was started again from outside, when it listens."""
    part = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert part.stdout is not None
    assert "listening" in part.stdout.readline()
    return part


def _eventually(connection: str) -> int:
    """The status of an exchange, once the parts have found each other again."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            status = ask(connection, "hello")[0].status_code
        except httpx2.HTTPError:
            status = 0
        if status == 200 or time.monotonic() > deadline:
            return status
