"""The evidence run: plant, look everywhere, and see that looking finds what is there."""

from __future__ import annotations

import json
import os
import platform
import random
import re
import secrets
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

import grpc

from blindrelay.testbed.evidence.canaries import KINDS, Canaries
from blindrelay.testbed.evidence.forms import windows
from blindrelay.testbed.evidence.memory import Mapping, memory_of
from blindrelay.testbed.evidence.network import CLIENT_ADDRESS, raise_loopback
from blindrelay.testbed.evidence.plan import held, requests
from blindrelay.testbed.evidence.result import Evidence, Look, Rest, Trait
from blindrelay.testbed.evidence.scene import Asker, Scene
from blindrelay.testbed.evidence.search import Needles
from blindrelay.testbed.evidence.traces import (
    bytes_written_of,
    environment_of,
    files_below,
    is_confined,
    open_files_of,
    swapped_of,
    written_files_of,
)

HELD: Final = 8
"""Streams that stand in the middle while memory is read."""

_HEALTH: Final = "/grpc.health.v1.Health/Check"
_SAMPLES: Final = 4_000
_SAMPLE_SIZE: Final = 16
_RECORD_FIELDS: Final = {
    frozenset({"minute", "event", "outcome", "request_bytes", "response_bytes", "seconds"}),
    frozenset({"minute", "event"}),
    frozenset({"minute", "event", "replica"}),
}
_MINUTE: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\dZ")

_HOPS: Final = {
    "relay": ("client to relay", "relay to bridge"),
    "plain relay": ("client to plain relay", "plain relay to provider"),
    "bridge": ("bridge to provider",),
}
"""What each can see of the network."""

Say = Callable[[str], None]


class Run:
    """One run.

    Args:
        rounds: exchanges of each kind.
        patience: seconds that the relay is watched afterwards; 0 is one look, at what it can write to.
    """

    def __init__(self, rounds: int, patience: float, say: Say) -> None:
        self._patience = patience
        self._say = say
        self._planted = [Canaries.fresh() for _ in range(rounds)]
        self._held = [Canaries.fresh() for _ in range(HELD)]
        self._in_clear = [Canaries.fresh() for _ in range(rounds)]
        ours = Needles(_named([*self._planted, *self._held]))
        clear = Needles(_named(self._in_clear))
        self._needles = {"client": ours, "relay": ours, "bridge": ours, "plain relay": clear}
        self.evidence = Evidence()

    def __call__(self) -> Evidence:
        """Everything, in its order. Raises PermissionError where memory cannot be read."""
        raise_loopback()
        os.environ.setdefault("GRPC_VERBOSITY", "debug")
        words = (secrets.token_hex(10) for _ in range(4))
        asker = Asker(
            "account" + next(words), "9.9.9-" + next(words), "Zone/" + next(words), "xx_" + next(words)
        )
        with Scene(asker) as scene:
            self._scene = scene
            before = set(files_below(scene.bed.folder))
            self._say("exchanges through both relays")
            self._exchange()
            self._say("memory, while exchanges are in flight")
            self._look_in_flight()
            ended = time.monotonic()
            self._say("what the relay still holds of the sealed bytes")
            samples = {*self._sealed_samples()}
            sealed = Needles({"sealed": samples})
            self._watch_retention(samples, sealed, ended, 0.0)
            if self._patience:
                self._say("memory, right after the last one, and later")
                self._look_at_memory("memory, right after")
                for after in (10.0, 30.0, self._patience):
                    self._watch_retention(samples, sealed, ended, after)
                self._look_at_memory(f"memory, {self._patience:.0f} s after")
            self._say("files, log, environment, answers, network")
            self._look_elsewhere()
            self._judge_the_log()
            self._look_for_the_asker()
            self._state_facts(before)
        self._describe()
        return self.evidence

    def _exchange(self) -> None:
        scene, evidence = self._scene, self.evidence
        scene.reading.tell(
            scene.in_clear, [each for canaries in self._in_clear for each in requests(canaries)]
        )
        scene.working.tell(scene.sealed, [each for one in self._planted[::2] for each in requests(one)])
        scene.reading.answered()
        evidence.ends = Counter(scene.working.answered()["ends"])
        scene.holding.tell(scene.sealed, [held(canaries, "evidence") for canaries in self._held])
        evidence.ends = dict(Counter(evidence.ends) + Counter(scene.holding.answered()["ends"]))

    def _look_in_flight(self) -> None:
        scene, evidence = self._scene, self.evidence
        scene.working.tell(scene.sealed, [each for one in self._planted[1::2] for each in requests(one)])
        time.sleep(0.1)
        self._look_at_memory("memory, in flight")
        evidence.ends = dict(Counter(evidence.ends) + Counter(scene.working.answered()["ends"]))
        scene.release("evidence")
        scene.holding.release()
        scene.holding.answered()
        evidence.exchanges = sum(evidence.ends.values())
        evidence.canaries = {kind: len(self._planted) + len(self._held) for kind in KINDS}

    def _look_at_memory(self, place: str) -> None:
        for party, pids in self._scene.pids.items():
            self._look(party, place, (piece.data for pid in pids for piece in self._memory(pid)))

    def _memory(self, pid: int) -> Iterator[Mapping]:
        return memory_of(pid, only_its_own=not self._patience)

    def _look(self, party: str, place: str, pieces: Iterable[bytes]) -> None:
        found: set[str] = set()
        size = 0
        for data in pieces:
            size += len(data)
            found |= self._needles[party].found_in(data)
        kinds = Counter(name.partition(" ")[2] for name in found)
        self.evidence.looks.append(Look(party, place, size, dict(sorted(kinds.items()))))

    def _watch_retention(self, samples: set[bytes], sealed: Needles, ended: float, after: float) -> None:
        """Sealed bytes in the relay's memory, so many seconds after the end, or as soon as may be."""
        time.sleep(max(0.0, ended + after - time.monotonic()))
        seconds = time.monotonic() - ended
        memory = memory_of(self._scene.bed.pids["relay"], only_its_own=True)
        left = set[bytes]().union(*(sealed.strings_in(piece.data) for piece in memory))
        self.evidence.rests.append(Rest(seconds, len(samples), len(left)))

    def _sealed_samples(self) -> Iterator[bytes]:
        """From what went between relay and bridge; frames of HTTP/2 are a few bytes in a thousand of it."""
        streams = [data for data in self._scene.hops()["relay to bridge"].values() if len(data) > 4_096]
        total = sum(map(len, streams))
        for data in streams:
            for _ in range(_SAMPLES * len(data) // total):
                at = random.randrange(len(data) - _SAMPLE_SIZE)
                yield data[at : at + _SAMPLE_SIZE]

    def _look_elsewhere(self) -> None:
        scene = self._scene
        relay = scene.bed.pids["relay"]
        self._look("relay", "environment and command line", [environment_of(relay)])
        self._look("relay", "open files", [open_files_of(relay)])
        self._look("relay", "files below its folder", (data for _, data in files_below(scene.bed.folder)))
        self._look("relay", "log, at its most verbose", [scene.bed.parts["relay"].stderr.encode()])
        self._look("relay", "answer to a health check", [_answers(scene.bed.parts["relay"].listening)])
        hops = scene.hops()
        for party, own in _HOPS.items():
            for hop in own:
                self._look(party, f"network, {hop}", hops[hop].values())

    def _judge_the_log(self) -> None:
        for line in self._scene.bed.parts["relay"].stderr.splitlines():
            self.evidence.records += 1
            if not _is_listed(line):
                self.evidence.strange_records.append(line)

    def _look_for_the_asker(self) -> None:
        scene = self._scene
        traits = {
            "client's address": ("relay", CLIENT_ADDRESS),
            "access token": ("relay", scene.bed.token),
            "account's name": ("relay", scene.asker.account),
            "SDK and its version": ("client", scene.asker.software),
            "time zone": ("client", scene.asker.time_zone),
            "locale": ("client", scene.asker.locale),
        }
        needles = Needles({name: [word.encode()] for name, (_, word) in traits.items()})
        seen: dict[str, set[str]] = {}
        for party, pids in scene.pids.items():
            seen[party] = set().union(
                *(needles.found_in(each.data) for pid in pids for each in self._memory(pid))
            )
        for _, content in files_below(scene.bed.folder):  # the account is in the file with the tokens' hashes
            seen["relay"] |= needles.found_in(content)
        hops = scene.hops()
        beside = [*hops["relay to bridge"].values(), *hops["bridge to provider"].values()]
        seen["bridge"] |= needles.found_in(scene.bed.parts["bridge"].stderr.encode())
        seen["bridge"] |= set().union(*map(needles.found_in, beside))
        self.evidence.traits = [
            Trait(name, party, name in seen[party], name in seen["bridge"])
            for name, (party, _) in traits.items()
        ]

    def _state_facts(self, before: set[tuple[Path, bytes]]) -> None:
        scene, facts = self._scene, self.evidence.facts
        relay = scene.bed.pids["relay"]
        facts.append(
            ("it runs in a sandbox that lets it write no file and run no program", is_confined(relay))
        )
        facts.append(("the relay has no file open for writing", not written_files_of(relay)))
        facts.append(("the relay has written nothing to storage", bytes_written_of(relay) == 0))
        facts.append(
            ("no file has appeared or changed below its folder", set(files_below(scene.bed.folder)) == before)
        )
        facts.append(("none of its memory is on a swap device", swapped_of(relay) == 0))
        here = set(Path.cwd().iterdir())
        os.kill(relay, signal.SIGSEGV)
        while scene.bed.parts["relay"].is_running:
            time.sleep(0.02)
        cores = [path for path in set(Path.cwd().iterdir()) - here if "core" in path.name]
        facts.append(("a crash leaves no core", not cores and set(files_below(scene.bed.folder)) == before))

    def _describe(self) -> None:
        self.evidence.machine = {
            "system": platform.platform(),
            "python": platform.python_version(),
            "grpcio": grpc.__version__,
            "cores": str(os.cpu_count()),
        }


def _named(all_canaries: Iterable[Canaries]) -> dict[str, set[bytes]]:
    return {
        f"{number} {kind}": windows(word)
        for number, canaries in enumerate(all_canaries)
        for kind, word in canaries.words.items()
    }


def _answers(relay: str) -> bytes:
    """What the relay answers to whoever asks for its health; it has no metrics and no administration."""
    with grpc.insecure_channel(relay) as channel:
        check: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(_HEALTH)
        return check(b"", timeout=5)


def _is_listed(line: str) -> bool:
    try:
        record = json.loads(line)
    except ValueError:
        return False
    return (
        isinstance(record, dict)
        and frozenset(record) in _RECORD_FIELDS
        and bool(_MINUTE.fullmatch(record["minute"]))
        and all(_is_a_power_of_two(record.get(name, 0)) for name in ("request_bytes", "response_bytes"))
    )


def _is_a_power_of_two(size: int) -> bool:
    return size & (size - 1) == 0
