"""A bridge process, to measure how long refusals take.

With `minimum`, each refusal leaves a minimum time after its call, by its own timer, as in an earlier design.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from blindrelay.provider_bridge import Bridge, exchange_opener, load_identity, read_bridge_config


async def main(config_file: Path, how: str) -> None:
    if how == "minimum":
        exchange_opener.refusal_tick = lambda since: since + exchange_opener.TICK_SECONDS
    config = read_bridge_config(config_file)
    assert isinstance(config.identity_key, Path)
    async with Bridge(config, load_identity(config.identity_key)).running() as address:
        print(address, flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
