"""One relay occupies as much of a bridge as it can. The small requests of another are served as before.

python -m tests.soak.greedy_relay --requests 500
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from blindrelay.serving import authorization, issue_token
from blindrelay.testbed.configuration import official_providers, write_bridge_config
from blindrelay.testbed.processes import PartProcess
from blindrelay.testbed.providers import provider_process
from blindrelay.testing.configuration import Option
from blindrelay.trust import parse_identity
from tests.provider_bridge.sealed_caller import SealedCaller, collect

EXCHANGES: Final = 200
LARGE: Final = 1_048_576
OPTIONS: Final[dict[str, Option]] = {
    "tokens": "tokens",
    "max_exchanges": EXCHANGES,
    "max_request_bytes": LARGE,
    "max_buffered_bytes": 8 * LARGE,
}
"""The default limits of a bridge, scaled down."""

BODY: Final = b'{"model": "m", "messages": [{"role": "user", "content": "What is the capital of France?"}]}'

MOST_SLOWER: Final = 3.0
"""How many times longer the modest relay's 99th percentile may get."""


@dataclass(frozen=True)
class Served:
    """A relay's small requests: the seconds of those that were served, and the number of the others."""

    seconds: list[float]
    refused: int

    @property
    def p99(self) -> float:
        return sorted(self.seconds)[int(len(self.seconds) * 0.99)]


class SharedBridge:
    """A bridge process with two relays' tokens, before a scripted provider."""

    def __init__(self, folder: Path) -> None:
        provider = provider_process("scripted", lambda: folder)
        assert provider is not None
        self._provider = provider
        self._config = folder / "bridge.toml"
        self._bridge = PartProcess("bridge", "blindrelay.provider_bridge", self._arguments)
        now = datetime.now(UTC)
        self.greedy, self.modest = (
            issue_token(folder / "tokens", name, now) for name in ("greedy", "modest")
        )

    def _arguments(self) -> list[str]:
        providers = official_providers(f"http://{self._provider.listening}")
        write_bridge_config(self._config, "127.0.0.1:0", providers, OPTIONS)
        return ["serve", "--config", str(self._config), "--json"]

    @classmethod
    @contextmanager
    def running(cls) -> Iterator[SharedBridge]:
        with tempfile.TemporaryDirectory() as folder:
            shared = cls(Path(folder))
            try:
                shared._provider.start()
                shared._bridge.start()
                yield shared
            finally:
                shared._bridge.stop()
                shared._provider.stop()

    async def serve(self, token: str, count: int) -> Served:
        """Sends small requests one after the other, with this token."""
        seconds, refused = [], 0
        identity = parse_identity(self._bridge.announcement["identity"])
        async with SealedCaller(self._bridge.listening, identity, (authorization(token),)) as caller:
            for _ in range(count):
                request = await caller.seal(body=BODY)
                began = time.monotonic()
                try:
                    answer = await collect(await caller.send(request), request)
                except Exception:
                    refused += 1
                    continue
                seconds.append(time.monotonic() - began)
                refused += answer.status != 200
        return Served(seconds, refused)

    @contextmanager
    def beside_greedy_relay(self) -> Iterator[None]:
        """Runs the greedy relay during the block."""
        command = [sys.executable, "-m", "tests.soak.greedy_peer", self._bridge.listening]
        command += [self._bridge.announcement["identity"], self.greedy, str(LARGE)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield
            process.communicate("")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--requests", type=int, default=500, help="alone, and as many beside a greedy relay")
    count = parser.parse_args().requests
    with SharedBridge.running() as bridge:
        asyncio.run(bridge.serve(bridge.modest, 50))
        quiet = asyncio.run(bridge.serve(bridge.modest, count))
        with bridge.beside_greedy_relay():
            beside = asyncio.run(bridge.serve(bridge.modest, count))
    print(f"p99 alone {1_000 * quiet.p99:.1f} ms, beside a greedy relay {1_000 * beside.p99:.1f} ms")
    if beside.refused:
        print(f"{beside.refused} of {count} requests were not served beside a greedy relay")
    slower = beside.p99 > MOST_SLOWER * quiet.p99
    if slower:
        print(f"that is over {MOST_SLOWER:.0f} times as much")
    return 1 if beside.refused or slower else 0


if __name__ == "__main__":
    sys.exit(main())
