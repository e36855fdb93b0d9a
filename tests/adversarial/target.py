"""A part of a testbed under attack, and the calls of an attacker who has a token."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from blindrelay.serving import authorization
from blindrelay.testbed import Testbed
from blindrelay.trust import parse_identity
from blindrelay.v1.envelope import METADATA_KEY
from blindrelay.v1.grpc_profile import EXCHANGE_METHOD
from tests.adversarial.h2_peer import Peer, header_block, message_start, opening
from tests.provider_bridge.sealed_caller import SealedCaller, SealedRequest


@dataclass
class Target:
    """A part under attack."""

    bed: Testbed
    part: str
    token: str

    @property
    def address(self) -> str:
        return self.bed.parts[self.part].listening

    @property
    def caller(self) -> SealedCaller:
        identity = parse_identity(self.bed.identity)
        return SealedCaller(self.address, identity, (authorization(self.token),))

    async def call(self, *more: tuple[str, str], path: str = EXCHANGE_METHOD) -> bytes:
        """The header block of a call that is admitted, with an envelope that is right."""
        async with self.caller as caller:
            envelope, _ = await caller.envelope()
        return self.call_with(envelope.SerializeToString(deterministic=True), *more, path=path)

    def call_with(self, envelope: bytes, *more: tuple[str, str], path: str = EXCHANGE_METHOD) -> bytes:
        encoded = base64.b64encode(envelope).decode()
        return header_block((authorization(self.token), (METADATA_KEY, encoded), *more), path)

    async def present(
        self, attackers: Sequence[Peer], requests: Iterable[SealedRequest], *, whole: bool = True
    ) -> None:
        """Sends requests on the attackers' connections in turn, without the last message if not `whole`."""
        for number, request in enumerate(requests):
            attacker = attackers[number % len(attackers)]
            stream = attacker.stream()
            await attacker.send(opening(stream, self.call_with(request.envelope)))
            for message in request.messages if whole else request.messages[:-1]:
                await attacker.pour(stream, message_start(len(message), message))

    @property
    def pids(self) -> list[int]:
        """The processes of the part."""
        return [self.bed.pids[self.part]]

    def peak(self) -> int:
        """The sum of VmHWM in bytes."""
        statuses = (Path(f"/proc/{pid}/status").read_text() for pid in self.pids)
        return sum(int(status.partition("VmHWM:")[2].split()[0]) * 1_024 for status in statuses)

    def forget_peak(self) -> None:
        """Sets VmHWM to what is in use now; only root may, of a process that is not dumpable."""
        with contextlib.suppress(PermissionError):
            for pid in self.pids:
                Path(f"/proc/{pid}/clear_refs").write_text("5")
