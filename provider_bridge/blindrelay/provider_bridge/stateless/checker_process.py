"""One process that checks bodies, as the bridge sees it.

It is started for its first body, checks one body at a time, and is started again if it dies. A body goes
through a pipe and never touches a disk.
"""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from blindrelay.provider_bridge.errors import RequestError
from blindrelay.provider_bridge.stateless.body_check import BodyCheck
from blindrelay.provider_bridge.stateless.checker_worker import greeting, read_reply, request_line
from blindrelay.provider_bridge.stateless.description import Description
from blindrelay.v1.inner_pb2 import ERROR_CODE_INTERNAL, ErrorCode

CHECK_SECONDS: Final = 60.0
"""Seconds for one body. The worst 32 MiB take two seconds on an idle core; a slower process is replaced."""

_SLICE: Final = 131_072
"""Bytes written at a time: two of them fill a pipe, and copying one takes microseconds."""

_KEPT_VARIABLES: Final = ("LD_LIBRARY_PATH", "PYTHONHOME", "PYTHONPATH", "SYSTEMROOT")
"""The variables that Python needs to start. The others may hold credentials."""


class CheckerProcess:
    """Checks bodies, one at a time.

    Attributes:
        process: the running one; None before the first body.
    """

    process: Process | None

    def __init__(self, descriptions: Mapping[str, Description]) -> None:
        """`descriptions` are by provider name."""
        self._descriptions = descriptions
        self._free = asyncio.Lock()
        self.process = None
        self._asking: asyncio.Task[None] | None = None

    async def check(self, check: BodyCheck, body: bytearray) -> None:
        """Checks a complete body or message. Raises RequestError."""
        await self._free.acquire()
        self._asking = asyncio.create_task(self._ask(check, body))
        self._asking.add_done_callback(self._asked)
        # It continues if the caller leaves: a process that has half a body cannot be used again.
        await asyncio.shield(self._asking)

    async def aclose(self) -> None:
        """Ends the process."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])
        await self._stop()

    def _asked(self, asking: asyncio.Task[None]) -> None:
        self._free.release()
        if not asking.cancelled():
            asking.exception()  # retrieved: the caller may have left

    async def _ask(self, check: BodyCheck, body: bytearray) -> None:
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                refusal = await self._exchange(await self._started(), check, body)
        except (OSError, TimeoutError, ValueError):
            await self._stop()
            raise RequestError(
                ERROR_CODE_INTERNAL, "the body could not be checked now: send it again"
            ) from None
        except asyncio.CancelledError:
            await self._stop()
            raise
        if refusal is not None:
            raise RequestError(ErrorCode.ValueType(refusal[0]), refusal[1])

    async def _exchange(self, process: Process, check: BodyCheck, body: bytearray) -> tuple[int, str] | None:
        stdin, stdout = process.stdin, process.stdout
        if stdin is None or stdout is None:
            raise ValueError("the process has no pipes")
        stdin.write(request_line(check, len(body)))
        for start in range(0, len(body), _SLICE):
            with memoryview(body) as view:  # released before the next wait
                stdin.write(view[start : start + _SLICE].tobytes())
            await stdin.drain()
        return read_reply(await stdout.readline())

    async def _started(self) -> Process:
        if self.process is not None and self.process.returncode is None:
            return self.process
        await self._stop()
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "blindrelay.provider_bridge.stateless"),
            stdin=PIPE,
            stdout=PIPE,
            env={name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ},
        )
        if self.process.stdin is not None:
            self.process.stdin.write(greeting(self._descriptions))
        return self.process

    async def _stop(self) -> None:
        process, self.process = self.process, None
        if process is None:
            return
        with suppress(ProcessLookupError):
            process.kill()
        if process.stdin is not None:
            process.stdin.close()
        await process.wait()
