"""A bridge as a process of its own, whose clock can be set forward.

Each line of its standard input says by how many seconds; it answers with how many sealing keys it holds then,
once no exchange runs.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from blindrelay.provider_bridge import Bridge, load_or_make_identity, read_bridge_config
from blindrelay.provider_bridge.clock import Clock, steady


async def main(config_file: Path) -> None:
    ahead = 0.0
    identity = load_or_make_identity(config_file.with_name("identity.key"))
    bridge = Bridge(
        read_bridge_config(config_file), identity, clock=Clock(monotonic=lambda: steady() + ahead)
    )
    async with bridge.running() as address:
        print(address, flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            ahead += float(line)
            while bridge.admission.running:  # noqa: ASYNC110 (nobody is told)
                await asyncio.sleep(0.01)
            bridge._keys.advance()  # what the process does by itself every few seconds
            print(bridge._keys.live, flush=True)


asyncio.run(main(Path(sys.argv[1])))
