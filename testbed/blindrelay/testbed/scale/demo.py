"""The demo: a request survives the loss of each part, and the books balance."""

from __future__ import annotations

import time
from typing import Any, Final

import openai

from blindrelay.testbed.demo.report import heading
from blindrelay.testbed.errors import TestbedError
from blindrelay.testbed.scale.client import Caller
from blindrelay.testbed.scale.topology import BRIDGES, NODES, ScaledTestbed

LOST: Final = {
    "bridge-1": "its keys are gone; the client takes those of another bridge",
    "ledger-1": "its relay goes on for ten seconds with what it may start",
    "control-1": "within two seconds Envoy starts nothing more by itself; the client takes the other relay",
    "envoy-1": "the SDK's next attempt takes the other relay",
}
"""Each part that is lost in turn, and why requests go on."""

CUT: Final = {
    "clients-relay-1": "the SDK's next attempt takes the other relay",
    "relay-1-bridge-1": "the next attempt takes another bridge, or the other relay",
    "relay-1-ledger-1": "its relay goes on for ten seconds with what it may start",
    "ledger-1-database": "its relay goes on in the same way",
    "receipts-bridge-1": "the receipts wait at the bridge",
}
"""Each piece of the network that is cut in turn, and why requests go on."""

REQUESTS: Final = 4
"""While a part is lost: two through each relay, if both are there."""

REFUSED_SECONDS: Final = 60.0
"""Without the database, relays start nothing after 13 seconds."""

BACK_SECONDS: Final = 60.0
SETTLED_SECONDS: Final = 60.0

REPORTED_SECONDS: Final = 10.0
"""For relays to report what they have not yet. A receipt whose exchange no relay reports is an orphan."""

ORPHANS: Final = """\
    An orphan is the receipt of an exchange that no relay reported. This is as it should be: after
    control-1 was killed, Envoy went on by itself for up to two seconds, and what the control process
    had not reported yet was lost with it. The ledger keeps such receipts and charges nobody."""
"""What the last lines say if there are any."""


class ScaleError(TestbedError):
    """Something was lost that should have survived."""


def run_scale() -> None:
    """Starts everything, takes parts away, and shows what happens. Raises TestbedError."""
    print(heading("BlindRelay past one machine, on this one") + "\n")
    print(
        f"  starting PostgreSQL, {BRIDGES} bridges, {NODES} ledgers, {NODES} relays behind Envoy …",
        flush=True,
    )
    with ScaledTestbed() as bed, Caller(bed.relays) as caller:
        for name, part in bed.parts.items():
            print(f"  {name:10} pid {part.pid}")
        _say("all parts run")
        _ask(caller)
        for name, reason in LOST.items():
            _lose(bed, caller, name, reason)
        _say("the network is cut between two parts")
        for link, reason in CUT.items():
            _cut(bed, caller, link, reason)
        _lose_database(bed, caller)
        show_books(bed)


def _lose(bed: ScaledTestbed, caller: Caller, name: str, reason: str) -> None:
    part = bed.parts[name]
    part.kill()
    _say(f"{name} is killed: {reason}")
    _ask(caller)
    part.start()
    bed.wait_until_ready()
    print(f"    {name} is back, and both relays list all bridges")
    _ask(caller)


def _cut(bed: ScaledTestbed, caller: Caller, link: str, reason: str) -> None:
    with bed.links.lost(link, silently=False):
        slowest = max(_answered(caller) for _ in range(REQUESTS))
    print(f"    {link:18} {REQUESTS} requests answered in {slowest:.2f} s at most: {reason}", flush=True)
    bed.wait_until_ready()


def _lose_database(bed: ScaledTestbed, caller: Caller) -> None:
    database = bed.parts["database"]
    database.kill()
    lost_at = time.monotonic()
    _say("the database is killed: relays go on with what accounts may start")
    _ask(caller)
    refusal = _first_refusal(caller, lost_at)
    print(f"    after {time.monotonic() - lost_at:.0f} s, requests are refused: {refusal}", flush=True)
    database.start()
    back_at = time.monotonic()
    wait_until_answered(caller)
    print(f"    the database is back; requests are answered after {time.monotonic() - back_at:.0f} s")


def _ask(caller: Caller) -> None:
    """Asks REQUESTS times, and says which relays it took. Raises ScaleError."""
    for _ in range(REQUESTS):
        seconds = _answered(caller)
        ways = ", then ".join(f"relay {number}" for number in caller.turns.taken)
        print(f"    answered in {seconds:.2f} s through {ways}", flush=True)


def _answered(caller: Caller) -> float:
    """Asks once. Returns how many seconds it took. Raises ScaleError."""
    caller.turns.taken.clear()
    started = time.monotonic()
    try:
        caller.ask()
    except openai.OpenAIError as error:
        raise ScaleError(f"a request was lost: {error}") from error
    return time.monotonic() - started


def _first_refusal(caller: Caller, since: float) -> str:
    while time.monotonic() < since + REFUSED_SECONDS:
        try:
            caller.ask()
        except openai.OpenAIError as error:
            return str(error)
        time.sleep(0.5)
    raise ScaleError(f"requests are answered {REFUSED_SECONDS:.0f} s after the database was lost")


def wait_until_answered(caller: Caller) -> None:
    """Asks until there is an answer, for BACK_SECONDS. Raises ScaleError."""
    deadline = time.monotonic() + BACK_SECONDS
    while True:
        try:
            caller.ask()
        except openai.OpenAIError as error:
            if time.monotonic() > deadline:
                raise ScaleError(f"no answer after {BACK_SECONDS:.0f} s: {error}") from error
        else:
            return


def show_books(bed: ScaledTestbed) -> None:
    """Waits until every exchange is settled, and checks the books. Raises ScaleError."""
    found = settled(bed)
    deadline = time.monotonic() + REPORTED_SECONDS
    while found["orphans"] and time.monotonic() < deadline:
        time.sleep(0.5)
        found = settled(bed)
    _say("the books (blindrelay-ledger check)")
    for name in ("balanced", "open", "orphans", "contradictions"):
        print(f"    {name:14} {found[name]}")
    if found["orphans"]:
        print("\n" + ORPHANS)
    if not found["balanced"]:
        raise ScaleError("the books do not balance: " + "; ".join(found["problems"]))


def settled(bed: ScaledTestbed) -> dict[str, Any]:
    """What the check of the first ledger says, once no exchange is open, or after SETTLED_SECONDS."""
    deadline = time.monotonic() + SETTLED_SECONDS
    while (found := bed.nodes[0].ledger_says("check"))["open"] and time.monotonic() < deadline:
        time.sleep(0.5)
    return found


def _say(text: str) -> None:
    print("\n  " + heading(text), flush=True)
