"""After an epoch and its grace, nothing in a copy of a bridge's memory opens what was recorded."""

from __future__ import annotations

import asyncio
import hashlib
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

import grpc
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from nacl.bindings import crypto_scalarmult_base

from blindrelay.provider_bridge import load_or_make_identity
from blindrelay.sealing import SealingKey, decapsulate, encapsulation
from blindrelay.sealing.keys import parse_config
from blindrelay.v1 import labels
from blindrelay.v1.exchange_pb2 import ExchangeRequest, ExchangeResponse
from blindrelay.v1.limits import REPLAY_WINDOW as W
from blindrelay.v1.limits import RESPONSE_NONCE_SIZE

from .replica import configure
from .scripted_provider import EVENT_STREAM, LAST_CHUNK, ScriptedProvider, chunk, stepwise
from .sealed_caller import SealedCaller, SealedRequest

SIZE: Final = 32
_WORD: Final = 8
_DISTINCT: Final = 20
"""Of 32 random bytes 30 differ on average; fewer than this happens once in 10^12."""

_MLKEM_PUBLIC_SIZE: Final = 1_184
_MLKEM_RANK: Final = 3

MARGIN = 120
"""Seconds before the end of a key's grace at which it is still looked for: real time passes too."""

EPOCH_SECRETS = {"X25519 key", "ML-KEM seed"}

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a process's memory is read in /proc")


def dump(pid: int) -> list[bytes]:
    regions = []
    with Path(f"/proc/{pid}/maps").open() as maps, Path(f"/proc/{pid}/mem").open("rb", 0) as memory:
        for line in maps:
            bounds, access = line.split()[:2]
            if access.startswith("rw"):
                start, end = (int(bound, 16) for bound in bounds.split("-"))
                memory.seek(start)
                with suppress(OSError):  # it has been given back meanwhile
                    regions.append(memory.read(end - start))
    return regions


Stolen = tuple[bytes, bytes]
"""What opens an epoch's exchanges: the X25519 key, and "d" of FIPS 203 (honest clients need no "z")."""


def sealing_key(stolen: Stolen, config: bytes) -> SealingKey:
    x25519, mlkem_seed = stolen
    return SealingKey(
        MLKEM768PrivateKey.from_seed_bytes(mlkem_seed + bytes(SIZE)),
        X25519PrivateKey.from_private_bytes(x25519),
        *(parse_config(config).not_before, parse_config(config).not_after),
    )


def find_key(candidates: set[bytes], config: bytes) -> Stolen | None:
    """The private key of a config, if both of its parts are among the candidates."""
    public_key = parse_config(config).public_key
    rho, x25519 = public_key[_MLKEM_PUBLIC_SIZE - SIZE : _MLKEM_PUBLIC_SIZE], public_key[_MLKEM_PUBLIC_SIZE:]
    seeds = (one for one in candidates if hashlib.sha3_512(one + bytes([_MLKEM_RANK])).digest()[:SIZE] == rho)
    scalars = (one for one in candidates if crypto_scalarmult_base(one) == x25519)
    if (seed := next(seeds, None)) is None or (scalar := next(scalars, None)) is None:
        return None
    return scalar, seed


def random_looking(memory: list[bytes]) -> set[bytes]:
    """Every 32 bytes at a multiple of 8 without a pointer, a small number or text in them."""
    found = set()
    for region in memory:
        neither_pointer_nor_small = np.frombuffer(region, "<u8") >> np.uint64(48) != 0
        windows = np.lib.stride_tricks.sliding_window_view(neither_pointer_nor_small, SIZE // _WORD)
        for index in np.flatnonzero(windows.all(axis=1)):
            window = region[index * _WORD : index * _WORD + SIZE]
            if len(set(window)) >= _DISTINCT and not window.isascii():
                found.add(window)
    return found


async def advance(process: asyncio.subprocess.Process, seconds: int) -> None:
    """Sets the bridge's clock forward; returns when it has looked at its keys."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"%d\n" % seconds)
    await process.stdout.readline()


@asynccontextmanager
async def bridge_ahead_of_time(
    folder: Path, provider: ScriptedProvider
) -> AsyncIterator[tuple[asyncio.subprocess.Process, SealedCaller]]:
    """A bridge in a process of its own, and a caller of it."""
    config = configure(folder, provider.origin, top="epoch_seconds = 600")
    identity = load_or_make_identity(folder / "identity.key")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(Path(__file__).with_name("bridge_ahead_of_time.py")), config),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        address = (await process.stdout.readline()).decode().strip()
        async with SealedCaller(address, identity.public_key) as caller:
            yield process, caller
    finally:
        process.kill()
        await process.wait()


@dataclass
class Recorded:
    """What a relay can keep of one exchange whose response has begun."""

    config: bytes
    request: SealedRequest
    response: bytes

    @property
    def first(self) -> ExchangeRequest:
        return ExchangeRequest.FromString(self.request.messages[0])

    def secrets(self, stolen: Stolen) -> dict[str, bytes]:
        """All that opens it, from the epoch's keys down to those of its records (section 8)."""
        bound = hashlib.sha256(self.request.envelope).digest()
        secret = encapsulation._SUITE.decrypt(
            self.first.encapsulated_secret,
            sealing_key(stolen, self.config).private_key,
            info=labels.labelled(labels.ENCAPSULATION, bound),
        )
        nonce = self.response[:RESPONSE_NONCE_SIZE]
        return {
            "X25519 key": stolen[0],
            "ML-KEM seed": stolen[1],
            "exchange secret": secret,
            "request key": bytes(encapsulation._derive(secret, labels.REQUEST, bound, b"")),
            "response key": bytes(encapsulation._derive(secret, labels.RESPONSE, bound, nonce)),
        }


def still_there(exchanges: list[Recorded], stolen: Stolen, memory: list[bytes]) -> set[str]:
    secrets = [secret for exchange in exchanges for secret in exchange.secrets(stolen).items()]
    return {name for name, secret in secrets if any(secret in region for region in memory)}


@pytest.mark.timeout(300)  # it searches hundreds of megabytes
async def test_memory_opens_what_was_recorded_until_the_grace_is_over(
    tmp_path: Path, provider: ScriptedProvider
) -> None:
    release = asyncio.Semaphore(0)
    provider.script = stepwise(release, EVENT_STREAM + chunk(b"begin"), LAST_CHUNK)
    async with bridge_ahead_of_time(tmp_path, provider) as (process, caller):
        (key,) = (await caller.directory()).keys
        requests = [await caller.seal(body=b'{"user":"the canary"}') for _ in range(2)]
        answered, cut = calls = [await caller.send(request) for request in requests]
        exchanges = [
            Recorded(key.config, request, ExchangeResponse.FromString(cast(bytes, await call.read())).sealed)
            for call, request in zip(calls, requests, strict=True)
        ]

        memory = dump(process.pid)
        stolen = find_key(random_looking(memory), key.config)
        assert stolen is not None, "in time: the key is there"
        first = exchanges[0].first
        opened = decapsulate(requests[0].envelope, first.encapsulated_secret, sealing_key(stolen, key.config))
        assert opened.request.open(first.sealed).body == b'{"user":"the canary"}'
        assert still_there(exchanges, stolen, memory) >= EPOCH_SECRETS | {"response key"}

        cut.cancel()
        release.release()
        release.release()
        while await answered.read() is not grpc.aio.EOF:
            pass
        await advance(process, key.not_after + W - int(time.time()) - MARGIN)
        while still_there(exchanges, stolen, memory := dump(process.pid)) - EPOCH_SECRETS:  # noqa: ASYNC110
            await asyncio.sleep(0.1)  # the exchanges are being dropped
        assert still_there(exchanges, stolen, memory) == EPOCH_SECRETS, "its grace is not over"
        await advance(process, MARGIN + 1)
        memory = dump(process.pid)
        assert still_there(exchanges, stolen, memory) == set(), "too late"
        assert find_key(random_looking(memory), key.config) is None
