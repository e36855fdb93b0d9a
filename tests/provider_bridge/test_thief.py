"""After an epoch and its grace, nothing in a bridge's memory opens what was recorded."""

from __future__ import annotations

import asyncio
import hashlib
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from blindrelay.provider_bridge import load_or_make_identity
from blindrelay.sealing import decapsulate, encapsulation
from blindrelay.trust import read_directory
from blindrelay.v1 import labels
from blindrelay.v1.exchange_pb2 import ExchangeRequest, ExchangeResponse, GetKeyDirectoryResponse
from blindrelay.v1.limits import REPLAY_WINDOW as W
from blindrelay.v1.limits import RESPONSE_NONCE_SIZE

from .memory_thief import StolenKey, dump, find_key, occurs, random_looking
from .scripted_provider import ScriptedProvider, paused
from .sealed_caller import Call, SealedCaller, SealedRequest

EPOCH = 60
MARGIN = 30
"""Seconds before the end of a key's grace at which it is still looked for: real time passes too."""

EPOCH_SECRETS = {"X25519 key", "ML-KEM seed", "ML-KEM s[0]", "ML-KEM s[1]", "ML-KEM s[2]"}

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a process's memory is read in /proc")


@dataclass
class AheadOfTime:
    """A bridge in a process of its own, whose clock the test sets forward."""

    process: asyncio.subprocess.Process
    caller: SealedCaller

    def dump(self) -> list[bytes]:
        return dump(self.process.pid)

    async def advance(self, seconds: int) -> int:
        """Sets the clock forward; returns how many sealing keys the bridge holds then."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(b"%d\n" % seconds)
        await self.process.stdin.drain()
        return int(await self.process.stdout.readline())

    async def newest_config(self) -> bytes:
        """The newest key that it announces, in a directory that no client with a right clock would accept."""
        reply = await self.caller._directory(b"")
        (signed,) = GetKeyDirectoryResponse.FromString(reply).directories
        return read_directory(signed, self.caller.identity).keys[-1].config


@asynccontextmanager
async def bridge_ahead_of_time(folder: Path, provider: ScriptedProvider) -> AsyncIterator[AheadOfTime]:
    identity = load_or_make_identity(folder / "identity.key")
    (folder / "bridge.toml").write_text(
        f'listen = "127.0.0.1:0"\nidentity_key = "identity.key"\nepoch_seconds = {EPOCH}\n'
        f'[[provider]]\nname = "openai"\npreset = "openai"\ntarget = "{provider.origin}"\n'
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(Path(__file__).with_name("bridge_ahead_of_time.py")), folder / "bridge.toml"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        address = (await process.stdout.readline()).decode().strip()
        async with SealedCaller(address, identity.public_key) as caller:
            yield AheadOfTime(process, caller)
    finally:
        process.kill()
        await process.wait()


@dataclass
class Recorded:
    """What a relay can keep of one exchange."""

    config: bytes
    request: SealedRequest
    response: bytes

    @property
    def first(self) -> ExchangeRequest:
        return ExchangeRequest.FromString(self.request.messages[0])

    def prompt(self, stolen: StolenKey) -> bytes:
        opened = decapsulate(
            self.request.envelope, self.first.encapsulated_secret, stolen.sealing_key(self.config)
        )
        sealed = (ExchangeRequest.FromString(message).sealed for message in self.request.messages)
        return b"".join(opened.request.open(one).body for one in sealed)

    def secrets(self, stolen: StolenKey) -> dict[str, bytes]:
        """All that opens it, from the epoch's keys down to those of its records (section 8)."""
        bound = hashlib.sha256(self.request.envelope).digest()
        secret = encapsulation._SUITE.decrypt(
            self.first.encapsulated_secret,
            stolen.sealing_key(self.config).private_key,
            info=labels.labelled(labels.ENCAPSULATION, bound),
        )
        return {
            "X25519 key": stolen.x25519,
            "ML-KEM seed": stolen.mlkem_seed,
            **{f"ML-KEM s[{number}]": part for number, part in enumerate(stolen.expanded())},
            "exchange secret": secret,
            "request key": bytes(encapsulation._derive(secret, labels.REQUEST, bound, b"")),
            "response key": bytes(
                encapsulation._derive(secret, labels.RESPONSE, bound, self.response[:RESPONSE_NONCE_SIZE])
            ),
        }


async def record(config: bytes, call: Call, request: SealedRequest) -> Recorded:
    """An exchange whose response has begun."""
    message = await call.read()
    assert isinstance(message, bytes)
    return Recorded(config, request, ExchangeResponse.FromString(message).sealed)


def still_there(exchanges: list[Recorded], stolen: StolenKey, memory: list[bytes]) -> set[str]:
    """Which secrets, of any of these exchanges, are in a dump."""
    return {
        name
        for exchange in exchanges
        for name, secret in exchange.secrets(stolen).items()
        if occurs(secret, memory)
    }


async def test_memory_opens_what_was_recorded_until_the_grace_is_over(
    tmp_path: Path, provider: ScriptedProvider
) -> None:
    release = asyncio.Event()
    provider.script = paused(release, b"begin")
    async with bridge_ahead_of_time(tmp_path, provider) as bridge:
        (key,) = (await bridge.caller.directory()).keys
        requests = [await bridge.caller.seal(body=b'{"user":"the canary"}') for _ in range(2)]
        answered, cut = calls = [await bridge.caller.send(request) for request in requests]
        exchanges = [
            await record(key.config, call, request) for call, request in zip(calls, requests, strict=True)
        ]

        memory = bridge.dump()
        stolen = find_key(random_looking(memory), key.config)
        assert stolen is not None, "in time: the key is there"
        assert exchanges[0].prompt(stolen) == b'{"user":"the canary"}'
        assert still_there(exchanges, stolen, memory) >= EPOCH_SECRETS | {"response key"}

        cut.cancel()
        release.set()
        while await answered.read() is not grpc.aio.EOF:
            pass
        await bridge.advance(key.not_after + W - int(time.time()) - MARGIN)
        assert still_there(exchanges, stolen, bridge.dump()) == EPOCH_SECRETS, "its grace is not over"
        await bridge.advance(MARGIN + 1)
        newest = await bridge.newest_config()
        memory = bridge.dump()
        assert still_there(exchanges, stolen, memory) == set(), "too late"
        candidates = random_looking(memory)
        assert find_key(candidates, key.config) is None
        assert find_key(candidates, newest) is not None, "the search itself still works"
