"""A bridge as a process of its own, for measuring how long it takes to refuse.

`minimum` has refusals leave a minimum time after their call, each by a timer of its own, as they once did.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from blindrelay.provider_bridge import Bridge, load_identity, read_bridge_config
from blindrelay.provider_bridge.refusal_ticks import REFUSAL_SECONDS, RefusalTicks


async def _minimum(_: RefusalTicks, since: float) -> None:
    await asyncio.sleep(since + REFUSAL_SECONDS - asyncio.get_running_loop().time())


async def main(config_file: Path, how: str) -> None:
    if how == "minimum":
        RefusalTicks.wait = _minimum  # type: ignore[assignment, method-assign]
    config = read_bridge_config(config_file)
    assert isinstance(config.identity_key, Path)
    async with Bridge(config, load_identity(config.identity_key)).running() as address:
        print(address, flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
