"""Checks bodies: small ones at once, large ones in another process, to keep the event loop free."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from blindrelay.provider_bridge.errors import RequestError
from blindrelay.provider_bridge.providers import Provider
from blindrelay.provider_bridge.stateless.body_check import BodyCheck
from blindrelay.provider_bridge.stateless.checker_process import CheckerProcess
from blindrelay.provider_bridge.stateless.long_strings import LongStrings

CHECK_INLINE: Final = 32_768
"""Bytes. Checking a body of this size takes at most about 10 ms, whatever is in it (bench body-checks)."""

ORDINARY: Final = 1_048_576
"""Bytes. Larger bodies have a process of their own: one takes up to two seconds, and ordinary conversations
would have to wait."""


class Checker:
    """Checks the bodies of one bridge's calls.

    Attributes:
        ordinary, largest: the processes for bodies up to ORDINARY, and over it.
    """

    def __init__(self, providers: Iterable[Provider]) -> None:
        self._descriptions = {provider.name: provider.stateless for provider in providers}
        self.ordinary = CheckerProcess(self._descriptions)
        self.largest = CheckerProcess(self._descriptions)

    async def check(self, check: BodyCheck, body: bytearray, strings: LongStrings | None = None) -> None:
        """Checks a complete body or message. Raises RequestError.

        A body whose long strings can be taken out is checked without them. If it passes, the whole would.
        `strings` are those that were found while it arrived.
        """
        if len(body) > CHECK_INLINE and check.kind != "forms":
            with suppress(RequestError):
                short = await (strings or LongStrings()).taken_out(body)
                if len(short) < len(body):
                    await self._check(check, short)
                    return
        await self._check(check, body)

    async def _check(self, check: BodyCheck, body: bytearray) -> None:
        if len(body) <= CHECK_INLINE:
            check.apply(self._descriptions[check.provider], body)
        elif len(body) <= ORDINARY:
            await self.ordinary.check(check, body)
        else:
            await self.largest.check(check, body)

    async def aclose(self) -> None:
        """Ends the processes."""
        await self.ordinary.aclose()
        await self.largest.aclose()
