"""A client that seals nothing: it opens calls on a relay with raw bytes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import grpc
import pytest

from blindrelay.serving import authorization
from blindrelay.v1.channel import Metadata
from blindrelay.v1.envelope import METADATA_KEY
from blindrelay.v1.exchange_pb2 import GetKeyDirectoryResponse
from blindrelay.v1.grpc_profile import CHANNEL_OPTIONS, EXCHANGE_METHOD, KEY_DIRECTORY_METHOD
from blindrelay.v1.keys_pb2 import SignedKeyDirectory
from blindrelay.v1.outer_status import OuterStatus


class Client:
    """A channel to a relay, and a token."""

    def __init__(self, address: str, token: str, credentials: grpc.ChannelCredentials | None = None) -> None:
        self.address = address
        self.token = token
        if credentials is None:
            self.channel = grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS)
        else:
            self.channel = grpc.aio.secure_channel(address, credentials, options=CHANNEL_OPTIONS)
        self._exchange: Any = self.channel.stream_stream(EXCHANGE_METHOD)
        self._directories: Any = self.channel.unary_unary(KEY_DIRECTORY_METHOD)

    def without_limits(self) -> None:
        """Sends messages of any size from now on, over another connection."""
        self.channel = grpc.aio.insecure_channel(self.address, options=(("grpc.enable_retries", 0),))
        self._exchange = self.channel.stream_stream(EXCHANGE_METHOD)

    def call(self, *envelopes: bytes, extra: Metadata = (), timeout: float | None = 30) -> Any:
        """An exchange to write to, with these envelopes. A valid one has one."""
        carried = [(METADATA_KEY, envelope) for envelope in envelopes]
        return self.call_with([authorization(self.token), *carried, *extra], timeout)

    def call_with(self, metadata: list[Any], timeout: float | None = 30) -> Any:
        """An exchange with exactly this metadata."""
        return self._exchange(metadata=metadata, timeout=timeout)

    async def open(self, envelope: bytes, **options: Any) -> Any:
        """An exchange whose first message has come back."""
        call = self.call(envelope, **options)
        await call.write(b"x")
        assert await call.read() == b"x"
        return call

    async def exchange(
        self, *envelopes: bytes, messages: Iterable[bytes] = (b"hello",), timeout: float = 30
    ) -> list[bytes]:
        """A whole exchange. Returns the messages of the response. Raises AioRpcError."""
        call = self.call(*envelopes, timeout=timeout)
        sending = asyncio.create_task(_send(call, messages))
        # A write that fails because the relay has refused would hide the relay's status.
        call.add_done_callback(lambda _: sending.cancel())
        try:
            return [message async for message in call]
        except grpc.aio.AioRpcError:
            await asyncio.sleep(0.05)
            raise grpc.aio.AioRpcError(await call.code(), details=await call.details()) from None
        finally:
            sending.cancel()

    async def directories(self) -> list[SignedKeyDirectory]:
        """What GetKeyDirectory answers. Raises AioRpcError."""
        encoded = await self._directories(b"", metadata=[authorization(self.token)], timeout=30)
        return list(GetKeyDirectoryResponse.FromString(encoded).directories)


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
    async with asyncio.timeout(20):
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
