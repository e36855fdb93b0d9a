"""The evidence run: plant words, search for them everywhere, and show that the search finds them."""

from __future__ import annotations

import os
import platform
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import grpc

from blindrelay.testbed.evidence.asker import Asker
from blindrelay.testbed.evidence.canaries import KINDS, Canaries
from blindrelay.testbed.evidence.closed_list import ON_THE_MINUTE, counted, is_listed, untimely
from blindrelay.testbed.evidence.crash import crash, where_cores_go
from blindrelay.testbed.evidence.facts import BY_ENVOY, what_confines, what_is_left
from blindrelay.testbed.evidence.forms import spellings, window
from blindrelay.testbed.evidence.looking import HOPS, Looking, health_response
from blindrelay.testbed.evidence.memory import memory_of
from blindrelay.testbed.evidence.network import raise_loopback
from blindrelay.testbed.evidence.plan import Request, held, requests
from blindrelay.testbed.evidence.result import CRASH, LEDGER, RELAY, Evidence, Rest, Trait
from blindrelay.testbed.evidence.retention import Samples
from blindrelay.testbed.evidence.scene import AS_SHIPPED, TALKATIVE, Scene, with_minute
from blindrelay.testbed.evidence.search import Needles
from blindrelay.testbed.evidence.traces import environment_of, files_below, open_files_of
from blindrelay.testbed.topology import RelayStart

HELD: Final = 4
"""Exchanges of each kind that are held in the middle while memory is read."""

_GATE: Final = "in flight"
_CRASH_GATE: Final = "in flight at the crash"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Size:
    """How much a run does.

    Attributes:
        rounds: exchanges of each kind.
        patience: seconds after the last exchange, after which the relay is looked at again; 0: it is not, and
            memory is then that which a process can write to.
        minute: seconds between two reports of the relay's log, 60 as shipped.
    """

    rounds: int
    patience: float
    minute: float = 60.0


class Run:
    """One run. `say` is told what is done."""

    def __init__(self, size: Size, say: Say, relay: RelayStart = AS_SHIPPED) -> None:
        self._size = size
        self._say = say
        self._relay = with_minute(relay, size.minute)
        self._planted = [Canaries.fresh() for _ in range(size.rounds)]
        self._in_clear = [Canaries.fresh() for _ in range(size.rounds)]
        self._held = [Canaries.fresh() for _ in range(HELD)]
        self._held_in_clear = [Canaries.fresh() for _ in range(HELD)]
        self._looking = Looking(
            [*self._planted, *self._held],
            [*self._in_clear, *self._held_in_clear],
            only_its_own=not size.patience,
        )
        self.evidence = Evidence()

    def __call__(self) -> Evidence:
        """Everything, in its order. Raises PermissionError where memory cannot be read, TestbedError."""
        began = time.monotonic()
        raise_loopback()
        os.environ |= TALKATIVE
        with Scene(Asker(), self._relay) as scene:
            self._scene = scene
            self._before = self._written()
            self._say("exchanges through both relays")
            self._exchange()
            self._say("memory, while exchanges are in flight")
            self._look_in_flight()
            self._say("memory, right after the last one")
            self._look_after()
            self._say("a crash, while exchanges are in flight")
            self._look_at_a_crash()
        self._describe()
        self.evidence.seconds = round(time.monotonic() - began, 1)
        return self.evidence

    def _exchange(self) -> None:
        """Half of what is planted, and then what is held, through both relays."""
        scene, evidence = self._scene, self.evidence
        self._leave_the_minute()
        scene.reading.tell(scene.in_clear, _all(requests(each) for each in self._in_clear))
        scene.working.tell(scene.sealed, _all(requests(each) for each in self._planted[::2]))
        evidence.in_clear = _sum(scene.reading.answered())
        evidence.ends = _sum(scene.working.answered())
        scene.reading.tell(scene.in_clear, _all(held(each, _GATE) for each in self._held_in_clear))
        scene.holding.tell(scene.sealed, _all(held(each, _GATE) for each in self._held))
        evidence.in_clear = _sum(evidence.in_clear, scene.reading.answered())
        evidence.ends = _sum(evidence.ends, scene.holding.answered())

    def _leave_the_minute(self) -> None:
        """Waits until a line that comes because of an exchange cannot pass for one of the minute's."""
        minute = self._size.minute
        past = time.time() % minute
        if not minute * ON_THE_MINUTE <= past <= minute * 2 / 3:
            time.sleep((minute * ON_THE_MINUTE - past) % minute)

    def _look_in_flight(self) -> None:
        """The other half runs meanwhile."""
        scene, evidence = self._scene, self.evidence
        scene.working.tell(scene.sealed, _all(requests(each) for each in self._planted[1::2]))
        time.sleep(0.1)
        self._look_at_memory("in flight", scene.pids)
        self._look_for_sealed_bytes(Samples(self._between_relay_and_bridge()), "in flight", in_flight=True)
        evidence.ends = _sum(evidence.ends, scene.working.answered())
        scene.release(_GATE)
        scene.holding.release()
        scene.holding.answered()
        evidence.exchanges = sum(evidence.ends.values())
        evidence.canaries = {kind: len(self._planted) + len(self._held) for kind in KINDS}

    def _look_after(self) -> None:
        """Right after; and once more when the patience is over, and other places meanwhile."""
        scene, ended = self._scene, time.monotonic()
        samples = Samples(self._between_relay_and_bridge())
        self.evidence.sealed_bytes = samples.forwarded
        self._look_for_sealed_bytes(samples, f"{time.monotonic() - ended:.1f} s after the last exchange")
        ours = {party: pids for party, pids in scene.pids.items() if party not in ("bridge", "client")}
        if self._size.patience:
            self._look_at_memory("right after", ours)
        self._look_elsewhere(samples)
        self._look_for_the_asker()
        if self._size.patience:
            self._say("the relay's memory, later")
            for after in (self._size.patience / 2, self._size.patience):
                time.sleep(max(0.0, ended + after - time.monotonic()))
                when = f"{time.monotonic() - ended:.1f} s after the last exchange"
                self._look_for_sealed_bytes(samples, when)
            self._look_at_memory(f"{self._size.patience:.0f} s after", ours)
        self._judge_the_log()
        self._state_facts()

    def _look_at_memory(self, when: str, pids: dict[str, list[int]]) -> None:
        for party, processes in pids.items():
            self.evidence.looks.append(self._looking.at_memory(party, when, processes))

    def _look(self, party: str, place: str, pieces: Iterable[bytes]) -> None:
        self.evidence.looks.append(self._looking.at(party, place, pieces))

    def _between_relay_and_bridge(self) -> list[bytes]:
        return [*self._scene.hops()["relay to bridge"].values()]

    def _look_for_sealed_bytes(self, samples: Samples, when: str, *, in_flight: bool = False) -> None:
        pieces = (data for pid in self._scene.relays for data in memory_of(pid, only_its_own=True))
        left = samples.found_in(pieces)
        allowed = None if in_flight or self._scene.by_envoy else samples.allowed
        self.evidence.rests.append(Rest(f"memory, {when}", len(samples), left, allowed))

    def _look_elsewhere(self, samples: Samples) -> None:
        self._say("files, log, environment, responses, network")
        scene = self._scene
        log = [scene.bed.parts["relay"].stderr.encode()]
        files = [data for _, data in self._written()]
        files += [data for path, data in files_below(scene.bed.folder) if scene.is_of_envoy(path)]
        self._look(RELAY, "environment and command line", map(environment_of, scene.relays))
        self._look(RELAY, "open files", map(open_files_of, scene.relays))
        self._look(RELAY, "files below its folders", files)
        self._look(RELAY, "log, at its most verbose", log)
        self._look(RELAY, "health response", [health_response(scene.bed.parts["relay"].listening)])
        self._look_at_the_ledger()
        for place, pieces in (("log", log), ("files", files)):
            written = samples.written_in(pieces)
            self.evidence.rests.append(Rest(place, samples.written, written, 0.0))
        hops = scene.hops()
        for party, own in HOPS.items():
            for hop in own:
                self._look(party, f"network, {hop}", hops[hop].values())

    def _look_at_the_ledger(self) -> None:
        """Its books, and what the bridge keeps for them; its memory and network are looked at elsewhere."""
        scene, pid = self._scene, self._scene.bed.pids["ledger"]
        books = [data for path, data in files_below(scene.bed.folder) if scene.is_of_the_books(path)]
        self._look(LEDGER, "books, and the bridge's outbox", books)
        self._look(LEDGER, "log, at its most verbose", [scene.bed.parts["ledger"].stderr.encode()])
        self._look(LEDGER, "environment and command line", [environment_of(pid)])
        needles = Needles({"address": spellings(scene.asker.address)}, window)
        known = _found(needles, [*self._looking.memories_of([pid]), *books])
        self.evidence.facts.append(("the ledger knows no client's address", not known))

    def _judge_the_log(self) -> None:
        """All of it, when the minute is over in which the last exchange ended."""
        self._say("the log, when the minute is over")
        scene, evidence = self._scene, self.evidence
        minute = self._size.minute
        time.sleep(minute - time.time() % minute + minute * ON_THE_MINUTE)
        stamped = [(came, line.rstrip("\n")) for came, line in scene.bed.parts["relay"].stderr_lines]
        lines = [line for _, line in stamped]
        self._look(RELAY, "log, when the minute is over", [line.encode() for line in lines])
        evidence.records = len(lines)
        evidence.counted = counted(lines)
        evidence.strange_records = [
            line for line in lines if not is_listed(line, scene.replicas, scene.ledgers)
        ]
        evidence.untimely_records = list(untimely(stamped, minute))

    def _look_for_the_asker(self) -> None:
        self._say("who asks: what the bridge knows of that")
        scene = self._scene
        traits = scene.asker.traits(scene.bed.token)
        needles = Needles({name: spellings(word) for name, (_, word) in traits.items()}, window)
        hops = scene.hops()
        seen = {party: _found(needles, self._looking.memories_of(pids)) for party, pids in scene.pids.items()}
        # The account is in the relay's file of tokens, and read when one is looked up.
        seen["relay"] |= _found(needles, (data for _, data in files_below(scene.bed.folder)))
        seen["bridge"] |= _found(needles, [scene.bed.parts["bridge"].stderr.encode()])
        for hop in ("relay to bridge", "bridge to provider"):
            seen["bridge"] |= _found(needles, hops[hop].values())
        self.evidence.traits = [
            Trait(name, party, name in seen[party], name in seen["bridge"])
            for name, (party, _) in traits.items()
        ]

    def _written(self) -> set[tuple[str, bytes]]:
        """All files in the parts' folders, and where they work, with their content.

        Without the books, and without what is written for Envoy.
        """
        scene = self._scene
        return {
            (str(path), data)
            for folder in (scene.bed.folder, scene.folder)
            for path, data in files_below(folder)
            if not scene.is_of_the_books(path) and not scene.is_of_envoy(path)
        }

    def _state_facts(self) -> None:
        scene = self._scene
        if scene.by_envoy:
            self.evidence.notes.append(BY_ENVOY)
        else:
            self.evidence.facts += what_confines(scene.relay)
        self.evidence.facts += what_is_left(scene.relays, unchanged=self._written() == self._before)

    def _look_at_a_crash(self) -> None:
        """Both relays end in the same way; the one that reads shows what could be seen of ours."""
        scene, evidence = self._scene, self.evidence
        scene.reading.tell(scene.in_clear, _all(held(each, _CRASH_GATE) for each in self._held_in_clear))
        scene.holding.tell(scene.sealed, _all(held(each, _CRASH_GATE) for each in self._held))
        scene.reading.answered()
        scene.holding.answered()
        dumped = crash(scene.relay)
        left = [data for _, data in self._written() - self._before]
        self._look(RELAY, CRASH, left)
        evidence.facts.append(("ended by SIGSEGV, it leaves no core", not dumped and not left))
        before = self._written()
        if not crash(scene.plain_relay.pid):
            evidence.notes.append("this machine makes no cores: that the relay leaves none shows nothing")
        elif cores := [data for _, data in self._written() - before]:
            self._look("plain relay", CRASH, cores)
        else:
            evidence.notes.append(f"the kernel gives cores to {where_cores_go()}: theirs were not read")

    def _describe(self) -> None:
        self.evidence.machine = {
            "system": platform.platform(),
            "python": platform.python_version(),
            "grpcio": grpc.__version__,
            "cores": str(os.cpu_count()),
        }


def _all(many: Iterable[Iterable[Request]]) -> list[Request]:
    return [request for some in many for request in some]


def _sum(*ends: dict[str, int]) -> dict[str, int]:
    return dict(sum((Counter(each) for each in ends), Counter()))


def _found(needles: Needles, pieces: Iterable[bytes]) -> set[str]:
    return set().union(*(needles.found_in(data) for data in pieces))
