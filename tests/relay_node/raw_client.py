"""Relays as processes of their own, in the sandbox if the kernel has one, and a client that seals nothing."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import DecodeError

from blindrelay.serving import authorization, issue_token
from blindrelay.serving.landlock import landlock_version
from blindrelay.testbed.unprivileged import launcher
from blindrelay.v1.channel import Metadata
from blindrelay.v1.envelope import METADATA_KEY, ROUTING_KEY, routing_text
from blindrelay.v1.envelope_pb2 import Envelope
from blindrelay.v1.exchange_pb2 import GetKeyDirectoryResponse
from blindrelay.v1.grpc_profile import (
    CHANNEL_OPTIONS,
    EXCHANGE_METHOD,
    KEY_DIRECTORY_METHOD,
    RETRY_AFTER_KEY,
)
from blindrelay.v1.grpc_workarounds import StatusWatch
from blindrelay.v1.keys_pb2 import SignedKeyDirectory
from blindrelay.v1.outer_status import OuterStatus
from tests.patience import PATIENCE


class Client:
    """A channel to a relay, and a token. `lease`, if there is one, is shown for exchanges instead."""

    def __init__(self, address: str, token: str, credentials: grpc.ChannelCredentials | None = None) -> None:
        self.address = address
        self.token = token
        self.lease = ""
        if credentials is None:
            self.channel = grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS)
        else:
            self.channel = grpc.aio.secure_channel(address, credentials, options=CHANNEL_OPTIONS)
        self.start: Any = self.channel.stream_stream(EXCHANGE_METHOD)
        self._whole: Any = self.channel.unary_stream(EXCHANGE_METHOD)
        self._directories: Any = self.channel.unary_unary(KEY_DIRECTORY_METHOD)

    def call(self, *envelopes: bytes, extra: Metadata = (), timeout: float | None = PATIENCE) -> Any:
        """An exchange to write to, with these envelopes. A valid one has one."""
        return self.start(metadata=[*self.metadata(*envelopes), *extra], timeout=timeout)

    def metadata(self, *envelopes: bytes) -> list[tuple[str, str | bytes]]:
        """What an exchange with these envelopes carries."""
        carried: list[tuple[str, str | bytes]] = [(METADATA_KEY, envelope) for envelope in envelopes]
        if len(envelopes) == 1:
            with contextlib.suppress(DecodeError):
                carried.append((ROUTING_KEY, routing_text(Envelope.FromString(envelopes[0]).key_id)))
        return [authorization(self.lease or self.token), *carried]

    async def open(self, envelope: bytes, **options: Any) -> Any:
        """An exchange whose first message has come back."""
        call = self.call(envelope, **options)
        await call.write(b"x")
        assert await call.read() == b"x"
        return call

    async def exchange(
        self, *envelopes: bytes, messages: Sequence[bytes] = (b"hello",), timeout: float = PATIENCE
    ) -> list[bytes]:
        """A whole exchange. Returns the messages of the response. Raises AioRpcError.

        A write that fails because the relay has refused would hide the relay's status and its hint. So a
        single message leaves with the headers, in one gRPC batch, and of several the status is watched.
        """
        if len(messages) == 1:
            call = self._whole(messages[0], metadata=self.metadata(*envelopes), timeout=timeout)
            return [message async for message in call]
        call = self.call(*envelopes, timeout=timeout)
        watch, sending = StatusWatch(call), asyncio.create_task(_send(call, messages))
        try:
            return [message async for message in call]
        except grpc.aio.AioRpcError as error:
            code, details = await watch.status(error)
            raise grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details) from None
        finally:
            sending.cancel()

    async def directories(self) -> list[SignedKeyDirectory]:
        """What GetKeyDirectory answers. Raises AioRpcError."""
        return list((await self.fetch()).directories)

    async def fetch(self) -> GetKeyDirectoryResponse:
        """The directories, and the lease of a relay that has a ledger. Raises AioRpcError."""
        encoded = await self._directories(b"", metadata=[authorization(self.token)], timeout=PATIENCE)
        return GetKeyDirectoryResponse.FromString(encoded)

    async def leased(self) -> Client:
        """The same client with its lease in place of its token."""
        other = copy.copy(self)
        other.token = (await self.fetch()).lease
        return other


async def _send(call: Any, messages: Iterable[bytes]) -> None:
    with contextlib.suppress(grpc.RpcError, grpc.aio.BaseError, asyncio.InvalidStateError):
        for message in messages:
            await call.write(message)
        await call.done_writing()


async def finish(call: Any) -> None:
    """Sends another message through an open exchange, and ends it well."""
    await call.write(b"two")
    assert await call.read() == b"two"
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK


async def eventually_served(client: Client, envelope: Callable[[], bytes]) -> None:
    """Waits until an exchange succeeds."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                assert await client.exchange(envelope()) == [b"hello"]
                return
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0.05)


async def refusal(call: Awaitable[object]) -> OuterStatus | None:
    """The outer status with which a call fails. None if its code and details are not on the list."""
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await call
    return OuterStatus.of(failure.value.code(), failure.value.details())


async def scrape(port: int) -> dict[str, float]:
    """The samples that a relay shows to Prometheus."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n")
    page = (await reader.read()).partition(b"\r\n\r\n")[2].decode()
    writer.close()
    lines = [line.rpartition(" ") for line in page.splitlines() if not line.startswith("#")]
    return {name.removeprefix("blindrelay_relay_"): float(value) for name, _, value in lines}


RELAY = (*launcher(), sys.executable, "-m", "blindrelay.relay_node")
SANDBOX = f"sandbox = {str(landlock_version() > 0).lower()}"

CONFIG = """
listen = "127.0.0.1:{port}"
tokens = "tokens"
{options}
[[replica]]
address = "127.0.0.1:{bridge}"
"""


class RelayProcess:
    """A relay that listens, perhaps with workers. `token` is a client's."""

    def __init__(self, popen: asyncio.subprocess.Process, address: str, token: str, log: Path) -> None:
        self.popen = popen
        self.address = address
        self.token = token
        self.client = Client(address, token)
        self._log = log

    @property
    def lines(self) -> list[dict[str, Any]]:
        """What it has written to stderr so far."""
        return [json.loads(line) for line in self._log.read_text().split("\n")[:-1]]

    def count(self, event: str) -> int:
        """How many of its lines are about this event."""
        return sum(line["event"] == event for line in self.lines)

    async def end(self) -> int:
        """Stops it. Returns the exit code."""
        self.popen.terminate()
        return await self.popen.wait()

    def workers(self) -> list[int]:
        """The process ids of the worker processes that live."""
        children = Path(f"/proc/{self.popen.pid}/task/{self.popen.pid}/children")
        return [int(pid) for pid in children.read_text().split()]


@contextlib.asynccontextmanager
async def relay_process(
    folder: Path, bridge: int, options: str = "", *, tls: str = "", workers: int = 1, **env: str
) -> AsyncIterator[RelayProcess]:
    """A relay in front of a bridge on this port. `options` are lines of relay.toml, which is in `folder`."""
    token = issue_token(folder / "tokens", "client", datetime.now(UTC))
    config, log = folder / "relay.toml", folder / "stderr"
    options = f"{SANDBOX}\n{options or 'drain_seconds = 20'}"
    text = CONFIG.format(port=0, bridge=bridge, options=options) + tls
    config.write_text(text.replace('tokens = "tokens"\n', "") if "[ledger]" in tls else text)
    arguments = ["serve", "--config", str(config), "--json"]
    if workers > 1:
        arguments += ["--workers", str(workers)]
    with log.open("w") as stderr:
        popen = await asyncio.create_subprocess_exec(
            *(*RELAY, *arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
            env=os.environ | env,
            process_group=0,
        )
    assert popen.stdout is not None
    line = await popen.stdout.readline()
    assert line, log.read_text()
    relay = RelayProcess(popen, json.loads(line)["listening"], token, log)
    try:
        yield relay
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(popen.pid, signal.SIGKILL)
        await popen.wait()
        await relay.client.channel.close()


def alive(pid: int) -> bool:
    """Whether a process runs. One that has ended may remain as a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def retry_after(call: Any) -> int | None:
    """The hint with which a call is refused."""
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await call
    hints = [value for key, value in failure.value.trailing_metadata() or () if key == RETRY_AFTER_KEY]
    return int(hints[0]) if hints else None
