"""A bridge process that is killed while exchanges run: no receipt, no charge, and no receipt is lost."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from blindrelay.client import SealedTransport
from blindrelay.testbed import Testbed
from tests.patience import PATIENCE

URL = "https://api.openai.com/v1/chat/completions"


@pytest.fixture
def bed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Testbed]:
    monkeypatch.setenv("BLINDRELAY_STATE", str(tmp_path / "state"))
    with Testbed("scripted", ledger=True) as bed:
        yield bed


def body(text: str, **script: object) -> dict[str, object]:
    return {"model": "gpt-5.5", "messages": [], "scripted": {"text": text, **script}}


def said(*command: str) -> dict[str, Any]:
    """What a command prints with --json."""
    done = subprocess.run([sys.executable, "-m", *command, "--json"], capture_output=True, check=True)
    printed: dict[str, Any] = json.loads(done.stdout)
    return printed


def ledger_says(bed: Testbed, *command: str) -> dict[str, Any]:
    assert bed.ledger is not None
    return said("blindrelay.ledger", *command, "--config", str(bed.ledger.config))


def closed(bed: Testbed, count: int) -> dict[str, str]:
    """The states of so many exchanges, by their names, once the books have all of them and none is open."""
    deadline = time.monotonic() + PATIENCE
    while True:
        lines = ledger_says(bed, "statement", "testbed")["lines"]
        if len(lines) == count and all(line["state"] in ("posted", "voided") for line in lines):
            return {line["exchange"]: line["state"] for line in lines}
        assert time.monotonic() < deadline, lines


def streamed(client: httpx2.Client, text: str, gate: str) -> AbstractContextManager[httpx2.Response]:
    """A response that has begun, and ends when the provider is told to release this gate."""
    return client.stream("POST", URL, json=body(text, hold=gate) | {"stream": True})


def test_what_a_killed_bridge_was_doing_is_not_charged_and_what_it_has_signed_is(
    bed: Testbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = ledger_says(bed, "statement", "testbed")["balance"]
    with SealedTransport(bed.relay) as sealed, sealed.httpx2_client() as client:
        whole = [client.post(URL, json=body("word " * 500))]
        with (
            streamed(client, "word " * 50, "released") as signed,
            streamed(client, "one two three four", "never released") as cut,
        ):
            pieces = cut.iter_bytes()
            next(pieces)
            bed.kill("ledger")  # so that the next receipt waits in the bridge's outbox
            httpx2.post(f"{bed.provider}/scripted/release", json={"gate": "released"}, timeout=PATIENCE)
            signed.read()
            whole.append(signed)
            bed.kill("bridge")
            with pytest.raises(httpx2.TransportError):
                list(pieces)
    bed.start("bridge")
    bed.start("ledger")
    bills = [response.extensions["blindrelay"] for response in whole]
    states = closed(bed, 3)
    assert sorted(states.values()) == ["posted", "posted", "voided"]
    assert {bill.envelope_hash.hex() for bill in bills} == {
        name for name, state in states.items() if state == "posted"
    }
    charged = sum(bill.units for bill in bills)
    assert charged > 0
    statement = ledger_says(bed, "statement", "testbed")
    assert (statement["charged"], before - statement["balance"]) == (charged, charged)
    assert ledger_says(bed, "check") == {"balanced": True, "open": 0, "orphans": 0, "contradictions": 0}
    monkeypatch.setenv("BLINDRELAY_CONNECTION", bed.relay)
    assert said("blindrelay.client", "bill", "verify")["differences"] == []
