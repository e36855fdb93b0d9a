"""The processes of a recording: a provider that replays texts, a bridge, and the real relay with a tap."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from blindrelay.testbed.configuration import official_providers
from blindrelay.testbed.processes import PartProcess
from blindrelay.testbed.tap import LineReader
from blindrelay.testbed.topology import RelayStart, Testbed
from blindrelay.testbed.trace.texts import Replay, write_texts
from blindrelay.testbed.trace.traced_relay import Seen

_ENOUGH: Final = 10_000
"""Of exchanges and connections at once: a recording is one account with many clients."""


class SeenReader(LineReader):
    """Reads what a traced relay has noted."""

    def new(self) -> list[Seen]:
        """The messages since the last call."""
        return [Seen(*line) for line in self.new_lines()]


@dataclass(frozen=True)
class Scene:
    """All processes, and what is replayed.

    Attributes:
        connection: the connection string, without a shape.
        seen: reads what the relay sees.
        pids: process ids by part: provider, bridge, relay.
    """

    replays: Sequence[Replay]
    connection: str
    seen: SeenReader
    pids: dict[str, int]


@contextmanager
def replaying(replays: Sequence[Replay], *, traced: bool = True) -> Iterator[Scene]:
    """Starts everything, and stops it at the block's end. Raises TestbedError.

    Unless it is to be `traced`, the relay has no tap, and nothing is seen.
    """
    with tempfile.TemporaryDirectory(prefix="blindrelay-trace-") as folder, ExitStack() as stack:
        texts, seen = Path(folder) / "texts.jsonl", Path(folder) / "seen.jsonl"
        write_texts(replays, texts)
        module = "blindrelay.testbed.trace.replaying_provider"
        provider = PartProcess("provider", module, lambda: [str(texts)])
        stack.callback(provider.stop)
        provider.start()
        bed = stack.enter_context(bed_of(f"http://{provider.listening}", seen if traced else None))
        pids = {**bed.pids, "provider": provider.pid}
        yield Scene(replays, bed.relay, SeenReader(seen), pids)


def bed_of(provider: str, seen: Path | None) -> Testbed:
    """A relay and a bridge in front of the provider at this URL. `seen` is the file of a traced relay."""
    traced = RelayStart("blindrelay.testbed.trace.traced_relay", (str(seen),))
    return Testbed(
        "scripted",
        providers=official_providers(provider),
        relay_options={
            "max_exchanges": _ENOUGH,
            "max_exchanges_per_token": _ENOUGH,
            "max_connections_per_token": _ENOUGH,
        },
        bridge_options={"max_exchanges": _ENOUGH},
        relay_start=None if seen is None else traced,
    )
