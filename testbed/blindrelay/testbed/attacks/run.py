"""Runs attacks against the real parts, and their twins against doubles, and judges both."""

from __future__ import annotations

import asyncio
import tempfile
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from blindrelay.testbed.attacks.attack import CALL_ENDED, CALL_OPEN, WAITED, Attack, Outcome
from blindrelay.testbed.attacks.parts import Parts, doubled_parts, real_parts
from blindrelay.testbed.attacks.relay import Hook, HostileRelay
from blindrelay.testbed.attacks.victim import SMALL, Got, Victim, new_mark, victim
from blindrelay.testbed.topology import Testbed

BOUND_SECONDS: Final = 120.0
"""Longer than any limit of a client: one that still waits then would wait for ever."""

TWIN_PATIENCE: Final = 5.0
"""For a twin that must show that nothing ends: more than twice the limit that would have ended it."""

Run = Callable[[Parts, Attack], Awaitable[Outcome]]

SETTLING_SECONDS: Final = 3.0
"""For a twin whose provider must not notice that its client is gone."""

AT_ONCE: Final = 4
"""Attacks that run beside each other."""


@dataclass(frozen=True)
class Row:
    """The outcome of one attack.

    Attributes:
        outcome: against the real parts.
        twin: against the double.
        surprises: what was not as expected in either.
    """

    attack: Attack
    outcome: Outcome
    twin: Outcome
    surprises: tuple[str, ...]

    @property
    def as_expected(self) -> bool:
        return not self.surprises


@dataclass(frozen=True)
class _Patience:
    """Seconds of one run for a client, for what the relay does afterwards, and for the provider to notice."""

    client: float = BOUND_SECONDS
    relay: float = BOUND_SECONDS
    provider: float = BOUND_SECONDS


async def run_attacks(
    bed: Testbed, attacks: Sequence[Attack], progress: Callable[[Attack], None] = lambda _: None
) -> list[Row]:
    """Runs each attack and its twin; the testbed has two replicas and the scripted provider.

    `progress` is called when a twin begins, after the attack itself.
    """
    async with real_parts(bed) as parts:
        outcomes = await _each(parts, [attack for attack in attacks if attack.honest is None], _real)
    twins: dict[str, Outcome] = {}

    async def twin(parts: Parts, attack: Attack) -> Outcome:
        progress(attack)
        return await _twin(parts, attack)

    # A double patches the whole process, so twins that need the same one run together.
    for group in _by_double(attacks):
        with (group[0].honest or nullcontext)():
            if group[0].honest is not None:
                outcomes |= await _each_doubled(bed, group, _real)
            with group[0].double():
                twins |= await _each_doubled(bed, group, twin)
    return [_row(attack, outcomes[attack.name], twins[attack.name]) for attack in attacks]


def _by_double(attacks: Sequence[Attack]) -> Iterable[list[Attack]]:
    groups: defaultdict[object, list[Attack]] = defaultdict(list)
    for attack in attacks:
        groups[attack.honest, attack.double].append(attack)
    return groups.values()


def _row(attack: Attack, outcome: Outcome, twin: Outcome) -> Row:
    surprises = attack.failings(outcome)
    if not attack.proof.holds(twin):
        surprises.append(f"the twin does not show that {attack.proof.says}: it got {twin.ends}")
    return Row(attack, outcome, twin, tuple(surprises))


async def _each_doubled(bed: Testbed, attacks: Sequence[Attack], run: Run) -> dict[str, Outcome]:
    with tempfile.TemporaryDirectory(prefix="blindrelay-double-") as folder:
        async with doubled_parts(bed, Path(folder)) as parts:
            return await _each(parts, attacks, run)


async def _each(parts: Parts, attacks: Sequence[Attack], run: Run) -> dict[str, Outcome]:
    """The outcome of each. A few run at once."""
    room = asyncio.Semaphore(AT_ONCE)

    async def outcome(attack: Attack) -> tuple[str, Outcome]:
        async with nullcontext() if attack.spare else room:
            return attack.name, await run(parts, attack)

    return dict(await asyncio.gather(*map(outcome, attacks)))


async def _real(parts: Parts, attack: Attack) -> Outcome:
    return await _run(parts, attack, attack.clock, _Patience())


async def _twin(parts: Parts, attack: Attack) -> Outcome:
    patience = _Patience(
        client=TWIN_PATIENCE if attack.proof is WAITED else BOUND_SECONDS,
        relay=TWIN_PATIENCE if attack.proof in (WAITED, CALL_OPEN) else BOUND_SECONDS,
        provider=SETTLING_SECONDS,
    )
    return await _run(parts, attack, attack.twin_clock or attack.clock, patience)


async def _run(
    parts: Parts, attack: Attack, clock: Callable[[], Callable[[], float]], patience: _Patience
) -> Outcome:
    hook = attack.hook()
    relay = HostileRelay(parts.bridges, hook)
    marks = [new_mark() for _ in attack.asks]
    async with relay.running() as address, AsyncExitStack() as stack:
        await hook.prepare(relay, parts.identity_key)
        victims = [
            await stack.enter_async_context(
                victim(
                    parts,
                    address,
                    read=attack.read,
                    bound=patience.client,
                    clock=clock(),
                    options=attack.options,
                )
            )
            for _ in range(attack.clients)
        ]
        got = await _ask(attack, victims, marks)
        with suppress(TimeoutError):
            async with asyncio.timeout(patience.relay):
                await hook.afterwards(relay)
        passages, said = relay.passages, tuple(relay.bridge_said)
        ended = await parts.provider.settled(marks, patience.provider if attack.also is CALL_ENDED else 0.0)
        for mark in marks:
            await parts.provider.release(mark)
        relay.hook = Hook()
        async with victim(parts, address, bound=BOUND_SECONDS) as honest:
            after = await honest.ask(SMALL, new_mark())
        calls = sum([len(await parts.provider.outcomes(mark)) for mark in marks])
    return Outcome(tuple(got), calls, tuple(ended), passages, said, tuple(hook.loot), after.end)


async def _ask(attack: Attack, victims: Sequence[Victim], marks: Sequence[str]) -> list[Got]:
    asking = [
        victims[number % len(victims)].ask(ask, mark)
        for number, (ask, mark) in enumerate(zip(attack.asks, marks, strict=True))
    ]
    if attack.at_once:
        return list(await asyncio.gather(*asking))
    return [await each for each in asking]
