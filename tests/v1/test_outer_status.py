"""Outer statuses, deadlines and channel options: what gRPC may show, and what it may not do."""

from __future__ import annotations

import asyncio
import contextlib
import re
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock, Mock

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blindrelay.v1.grpc_profile import CHANNEL_OPTIONS, MESSAGE_OPTIONS, client_deadline, forwarded_deadline
from blindrelay.v1.grpc_workarounds import StatusWatch
from blindrelay.v1.limits import DEADLINE_SECONDS, MAX_MESSAGE_SIZE
from blindrelay.v1.outer_status import OuterStatus

SPEC = Path(__file__).parents[2] / "spec/protocol.md"


def test_list_is_that_of_the_specification() -> None:
    section = SPEC.read_text("utf-8").partition("\n## 12. Errors\n")[2].partition("\n## 13.")[0]
    listed = re.findall(r"^\| `(\w+)` \| ([A-Z_]+) \|", section, re.MULTILINE)
    assert [(status.details, status.code.name) for status in OuterStatus] == listed


@pytest.mark.parametrize("status", OuterStatus)
def test_status_is_recognised_by_code_and_message_together(status: OuterStatus) -> None:
    other_words = (None, "", status.details.title(), f"{status.details} ", f"{status.details}: bad tag")
    for code in grpc.StatusCode:
        assert OuterStatus.of(code, status.details) is (status if code is status.code else None)
        assert {OuterStatus.of(code, words) for words in other_words} == {None}


Status = tuple[grpc.StatusCode, str]

REFUSED = (grpc.StatusCode.INVALID_ARGUMENT, "refused")
WRITE_FAILED = (grpc.StatusCode.INTERNAL, "Internal error from Core")


@pytest.mark.parametrize("first", [REFUSED, WRITE_FAILED])
async def test_status_under_way_is_waited_for(first: Status, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blindrelay.v1.grpc_workarounds._SECONDS", 3_600)
    call = Mock()
    watch = StatusWatch(call)

    def end(status: Status) -> None:
        call.code, call.details = (AsyncMock(return_value=part) for part in status)
        call.add_done_callback.call_args.args[0](call)

    def known(status: Status) -> asyncio.Task[tuple[grpc.StatusCode, str | None]]:
        metadata = grpc.aio.Metadata()
        return asyncio.create_task(
            watch.status(grpc.aio.AioRpcError(status[0], metadata, metadata, status[1]))
        )

    assert await known(REFUSED) == REFUSED, "another error is returned as it is"
    end(first)
    waiting = known(WRITE_FAILED)
    for _ in range(5):
        await asyncio.sleep(0)
    assert waiting.done() is (first is REFUSED)
    end(REFUSED)
    assert await waiting == REFUSED


@pytest.mark.parametrize("status", [REFUSED, (grpc.StatusCode.OK, "")])
async def test_status_of_a_call_comes_however_a_write_fails(
    status: Status, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The peer reads one message and ends the call, while the next ones are written."""
    monkeypatch.setattr("blindrelay.v1.grpc_workarounds._SECONDS", 3_600)

    async def end(_: object, context: Any) -> None:
        await context.read()
        if status is REFUSED:
            await context.abort(*status)

    server = grpc.aio.server()
    handlers: dict[str, Any] = {"Take": grpc.stream_stream_rpc_method_handler(end)}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("peer", handlers)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=CHANNEL_OPTIONS) as channel:
            call: Any = channel.stream_stream("/peer/Take")()
            watch = StatusWatch(call)
            with contextlib.suppress(asyncio.InvalidStateError, grpc.aio.AioRpcError):
                while True:
                    await call.write(bytes(60_000))
            metadata = grpc.aio.Metadata()
            shown = grpc.aio.AioRpcError(await call.code(), metadata, metadata, await call.details())
            assert await watch.status(shown) == status
    finally:
        await server.stop(None)


FORWARDED = [float(seconds + 60) for seconds in DEADLINE_SECONDS]


def test_client_and_relay_add_their_part_to_the_class() -> None:
    """However long the message has taken. Without a class it is an hour (spec/protocol.md, section 10.2)."""
    assert client_deadline(0) == 3_630.0
    for deadline_class, seconds in enumerate(DEADLINE_SECONDS, start=1):
        assert client_deadline(deadline_class) == seconds + 30
        for elapsed in (0.0, 0.001, 5.0, 29.9):
            assert forwarded_deadline(client_deadline(deadline_class) - elapsed) == seconds + 60
    assert forwarded_deadline(None) == FORWARDED[-1]
    for unknown in (-1, len(DEADLINE_SECONDS) + 1):
        with pytest.raises(ValueError, match="unknown deadline class"):
            client_deadline(unknown)


@given(st.floats(allow_nan=False))
def test_relay_forwards_no_other_value(remaining: float) -> None:
    assert forwarded_deadline(remaining) in FORWARDED
    assert forwarded_deadline(remaining) >= min(remaining, FORWARDED[-1])


def test_options_limit_messages_and_leave_nothing_to_grpc_or_the_environment() -> None:
    """No hop compresses. Channels neither retry, nor use the environment's proxy."""
    expected = {
        "grpc.max_receive_message_length": MAX_MESSAGE_SIZE,
        "grpc.max_send_message_length": MAX_MESSAGE_SIZE,
        "grpc.compression_enabled_algorithms_bitset": 1,
    }
    assert expected.items() <= dict(MESSAGE_OPTIONS).items()
    channel = {**expected, "grpc.enable_retries": 0, "grpc.enable_http_proxy": 0}
    assert channel.items() <= dict(CHANNEL_OPTIONS).items()
    assert len(dict(CHANNEL_OPTIONS)) == len(CHANNEL_OPTIONS), "no option is given twice"


def test_grpc_knows_every_option() -> None:
    """gRPC ignores a mistyped name silently."""
    library = next((Path(grpc.__file__).parent / "_cython").glob("cygrpc*.so")).read_bytes()
    for name, _ in CHANNEL_OPTIONS:
        assert name.encode() + b"\x00" in library, name
