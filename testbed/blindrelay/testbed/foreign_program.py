"""A program that is not ours, run as a part of a testbed."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from blindrelay.testbed.with_parent import with_parent

READY_SECONDS: Final = 60.0
"""Seconds for the program to be ready. It is started again if it ends before."""

_LOOK_SECONDS: Final = 0.05


@dataclass(frozen=True)
class ForeignProgram:
    """How to run it.

    Attributes:
        command: program and arguments.
        is_ready: whether this process can be used, and not an earlier one that is still ending.
        stop: ends it in an orderly way; it is waited for.
        crash_signal: what it gets when this process is killed.
        folder: where it runs; None for this process's folder.
        owner: the numbers of the user and group that it runs as, if this process is root's.
    """

    command: Sequence[str]
    is_ready: Callable[[Process], Awaitable[bool]]
    stop: Callable[[Process], Awaitable[None]]
    crash_signal: signal.Signals
    folder: Path | None = None
    owner: tuple[int, int] | None = None


async def run_as_part(program: ForeignProgram, announcement: Mapping[str, str]) -> int:
    """Runs it until it ends, or SIGTERM. Prints the announcement when it is ready. Returns an exit code."""
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    try:
        async with asyncio.timeout(READY_SECONDS):
            process = await _started(program)
    except TimeoutError:
        sys.stderr.write(f"{program.command[0]} was not ready within {READY_SECONDS:.0f} s\n")
        return 1
    sys.stdout.write(json.dumps(dict(announcement)) + "\n")
    sys.stdout.flush()
    ending, stopping = asyncio.create_task(process.wait()), asyncio.create_task(stopped.wait())
    await asyncio.wait((ending, stopping), return_when=asyncio.FIRST_COMPLETED)
    if not ending.done():
        await program.stop(process)
        await ending
        return 0
    stopping.cancel()
    return 1


async def _started(program: ForeignProgram) -> Process:
    process = await _start(program)
    try:
        while not await program.is_ready(process):
            if process.returncode is not None:
                process = await _start(program)  # an earlier one may still be ending
            await asyncio.sleep(_LOOK_SECONDS)
    except BaseException:
        with suppress(ProcessLookupError):
            process.kill()
        raise
    return process


async def _start(program: ForeignProgram) -> Process:
    command = (*with_parent(program.crash_signal, program.owner), *program.command)
    return await asyncio.create_subprocess_exec(*command, stdin=DEVNULL, stdout=DEVNULL, cwd=program.folder)
