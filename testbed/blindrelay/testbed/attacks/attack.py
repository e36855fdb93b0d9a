"""An attack, its outcome, and how the outcome is judged."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from blindrelay.testbed.attacks.doubles.double import Double
from blindrelay.testbed.attacks.relay import Hook
from blindrelay.testbed.attacks.victim import LEFT, PATIENCE, PROMPT, SMALL, STILL_WAITING, WHOLE, Ask, Got


@dataclass(frozen=True)
class Outcome:
    """The outcome of one run.

    Attributes:
        got: what each exchange of the application got, in order.
        calls: how many provider calls were made for them.
        calls_ended: how they had ended when the attack was over: answered, abandoned, broken off, open.
        passages: how many exchanges reached the relay.
        bridge_said: how the bridge ended the calls to it.
        loot: what the attacker could read.
        served_after: what an honest exchange got afterwards, through the same parts.
    """

    got: tuple[Got, ...]
    calls: int
    calls_ended: tuple[str, ...]
    passages: int
    bridge_said: tuple[str, ...]
    loot: tuple[bytes, ...]
    served_after: str

    @property
    def ends(self) -> tuple[str, ...]:
        """How each exchange ended."""
        return tuple(got.end for got in self.got)


@dataclass(frozen=True)
class Proof:
    """What shows that an attack has succeeded: in words, and as a condition."""

    says: str
    holds: Callable[[Outcome], bool]


@dataclass(frozen=True)
class Attack:
    """One attack, its expected outcome, and its twin.

    Attributes:
        name: its name on the command line.
        about: one sentence.
        hook: makes a new hook of the relay for each run.
        ends: how each exchange of the application must end. With at_once the order does not matter.
        calls: how many calls of the provider must be made.
        stopped_by: the protection that stops it.
        double: takes that protection out of the parts.
        proof: shows that the twin has succeeded.
        asks: what the application asks for, one after another; with at_once, all together.
        clients: how many clients ask. With 2, each exchange has its own.
        read: the client's idle limit in seconds.
        clock: makes the clients' clock.
        twin_clock: the same for the twin.
        options: of the connection string, more than usual.
        honest: a double for the real run too, which then takes place in this process.
        also: another condition for the real run.
        sent_again: how many exchanges the client may send twice, with the same bytes.
        spare: whether the run only waits for time to pass. Then more runs may take place beside it.
    """

    name: str
    about: str
    hook: Callable[[], Hook]
    ends: tuple[str, ...]
    calls: int
    stopped_by: str
    double: Double
    proof: Proof
    asks: tuple[Ask, ...] = (SMALL,)
    at_once: bool = False
    clients: int = 1
    read: float = PATIENCE
    clock: Callable[[], Callable[[], float]] = field(default=lambda: time.time)
    twin_clock: Callable[[], Callable[[], float]] | None = None
    options: str = ""
    honest: Double | None = None
    also: Proof | None = None
    sent_again: int = 0
    spare: bool = False

    def failings(self, outcome: Outcome) -> list[str]:
        """What was not as expected in a run against the real parts."""
        expected, ends = self.ends, outcome.ends
        if self.at_once:
            expected, ends = tuple(sorted(expected)), tuple(sorted(ends))
        checks = {
            f"the client got {ends}, not {expected}": ends == expected,
            "a wrong byte reached the application": not any(got.wrong for got in outcome.got),
            f"{outcome.calls} provider calls, not {self.calls}": outcome.calls == self.calls,
            "the client sealed again": outcome.passages <= len(self.asks) + self.sent_again,
            "the attacker read something": not outcome.loot,
            f"an honest exchange afterwards got {outcome.served_after}": outcome.served_after == WHOLE,
        }
        if self.also is not None:
            checks[f"not shown: {self.also.says}"] = self.also.holds(outcome)
        return [failing for failing, holds in checks.items() if not holds]


WRONG_BYTE: Final = Proof(
    "a wrong byte reached the application", lambda outcome: any(got.wrong for got in outcome.got)
)
SHORT_RESPONSE: Final = Proof(
    "a short response passed for the whole one",
    lambda outcome: any(
        got.end == WHOLE and got.body != got.right and got.right.startswith(got.body) for got in outcome.got
    ),
)
SECOND_CALL: Final = Proof("the provider was called again", lambda outcome: outcome.calls > len(outcome.got))
CALLED: Final = Proof("the provider was called", lambda outcome: outcome.calls > 0)
UNNOTICED: Final = Proof("nobody noticed", lambda outcome: set(outcome.ends) == {WHOLE})
LAST_UNNOTICED: Final = Proof(
    "the last exchange was sealed all the same", lambda outcome: outcome.ends[-1] == WHOLE
)
SEALED_AGAIN: Final = Proof("the client sealed again", lambda outcome: outcome.passages > len(outcome.got))
NOTHING_SENT: Final = Proof("nothing was sent", lambda outcome: outcome.passages == 0)
SEALED: Final = Proof("the client sealed to it", lambda outcome: outcome.passages > 0)
EXCHANGE_TAKEN: Final = Proof("the attacker got the exchange", lambda outcome: bool(outcome.loot))
PROMPT_READ: Final = Proof(
    "the attacker read the prompt", lambda outcome: any(PROMPT.encode() in loot for loot in outcome.loot)
)
WAITED: Final = Proof("the client waits for ever", lambda outcome: STILL_WAITING in outcome.ends)
CALL_OPEN: Final = Proof(
    "the provider works on although its client is gone",
    lambda outcome: LEFT in outcome.ends and "open" in outcome.calls_ended,
)
CALL_ENDED: Final = Proof(
    "the provider's work was ended", lambda outcome: set(outcome.calls_ended) == {"abandoned"}
)
UNTYPED: Final = Proof(
    "the application got an untyped error",
    lambda outcome: any(end.startswith("untyped") for end in outcome.ends),
)
BELIEVED: Final = Proof(
    "the application took the relay's words for the bridge's",
    lambda outcome: any(end.startswith("BridgeError") for end in outcome.ends),
)
TOLD: Final = Proof(
    "the bridge told in clear what failed",
    lambda outcome: any("DecodeError" in said for said in outcome.bridge_said),
)
