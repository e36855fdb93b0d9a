"""This version beside an earlier one, in one run: what a change of ours saved."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

from bench.chain import RELAY_ROOM, ROOT, Chain, UnavailableError
from bench.measuring import Side, closed, interleaved
from bench.plan import KIB, Plan
from bench.results import Comparison, Point
from bench.session import Session
from bench.work import Work
from blindrelay.testbed.processes import PartProcess
from blindrelay.testing.configuration import Option

COMMIT: Final = "cd5ae2049757"
"""The last one in which the bridge called providers through httpx (ADR 18)."""

EARLIER, NOW = f"commit {COMMIT}", "this version"
SMALL, STREAMS = "small exchange", "8 streams of 128 pieces at 100/s"

_WORKS: Final = {
    SMALL: (Work(prompt_bytes=2 * KIB), 1),
    STREAMS: (Work(prompt_bytes=2 * KIB, pieces=128, pieces_per_second=100), 8),
}


class _EarlierChain(Chain):
    """A chain of that commit, which could not shape responses yet."""

    def relay_room(self) -> dict[str, Option]:
        return {"max_exchanges": RELAY_ROOM}

    def connection(self, address: str, bridge: PartProcess) -> str:
        return self.plain_connection(address, bridge)

    def _bridge_config(self, provider: str, name: str) -> Path:
        config = super()._bridge_config(provider, name)
        known = [line for line in config.read_text().splitlines() if not line.startswith("stateless")]
        config.write_text("\n".join(known))
        return config


def earlier(plan: Plan, session: Session) -> Comparison:
    """The whole chain of either version, in front of one provider."""
    about = (
        f"Client, relay and bridge of commit {COMMIT}, and those of this version. "
        "Prompts of 2 KiB; small exchanges one after the other."
    )
    limits = "The earlier bridge did not check bodies, and both ends sealed with libsodium's secretstream."
    made = Comparison("Beside an earlier version", about, limits, "work")
    with Chain() as now:
        provider = now.provider()
        try:
            tree = _checkout(now.folder / "earlier")
        except UnavailableError as reason:
            made.skipped.append(f"everything: {reason}")
            return made
        with _EarlierChain(tree) as then:
            sides = [_side(EARLIER, then, provider), _side(NOW, now, provider)]
            for name, (work, at_once) in _WORKS.items():
                order = closed(work, at_once, plan.seconds)
                made.points.append(Point(name, interleaved(sides, order, plan.rounds)))
    return made


def _side(name: str, chain: Chain, provider: str) -> Side:
    bridge = chain.bridge(provider)
    connection = chain.connection(chain.relay(bridge.listening), bridge)
    parts = {name: chain.pids[name] for name in ("relay", "bridge")}
    return Side(name, chain.generator("sealed", {"connection": connection}, 8), parts)


def _checkout(folder: Path) -> Path:
    """The files of that commit. Raises UnavailableError where the history is missing."""
    folder.mkdir()
    archive = subprocess.run(["git", "archive", COMMIT], cwd=ROOT, capture_output=True, check=False)
    if archive.returncode:
        raise UnavailableError(f"commit {COMMIT} is not here (run: git fetch --unshallow)")
    subprocess.run(["tar", "-x"], input=archive.stdout, cwd=folder, check=True)
    return folder
