"""The bridge's real exchange, sealed and paced for real, between a written provider and a noting relay."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import grpc

from blindrelay.provider_bridge import AuditLog, BridgeConfig, read_bridge_config
from blindrelay.provider_bridge.aggregate.router import Router
from blindrelay.provider_bridge.clock import Clock
from blindrelay.provider_bridge.errors import ProviderError
from blindrelay.provider_bridge.exchange import Exchange, Runtime
from blindrelay.provider_bridge.exchange_opener import ClaimedExchange
from blindrelay.provider_bridge.quota import Quota
from blindrelay.provider_bridge.request_budget import RequestBudget
from blindrelay.provider_bridge.stateless.checker import Checker
from blindrelay.provider_bridge.upstream.failures import Failure, UpstreamError
from blindrelay.provider_bridge.upstream.provider_call import ProviderResponse
from blindrelay.sealing import ClientExchange, SealingKey, decapsulate, encapsulate
from blindrelay.serving import CallRefusedError
from blindrelay.v1.envelope_pb2 import Envelope
from blindrelay.v1.exchange_pb2 import ExchangeRequest, ExchangeResponse
from blindrelay.v1.inner_pb2 import (
    BODY_END_CHUNKED,
    CREDENTIAL_INJECTED,
    DEADLINE_CLASS_HOUR,
    EXCHANGE_KIND_EXCHANGE,
    EXECUTION_UNKNOWN,
    Execution,
    Header,
    RequestHead,
    ResponsePart,
    Shaping,
    ShapingProfile,
)
from blindrelay.v1.outer_status import OuterStatus

CHAT = "https://api.openai.com/v1/chat/completions"
STREAMED = b'{"model":"m","stream":true,"messages":[{"role":"user","content":"Hello"}]}'
WHOLE = b'{"model":"m","messages":[{"role":"user","content":"Hello"}]}'
KEPT = b'{"model":"m","stream":true,"store":true,"messages":[{"role":"user","content":"Hello"}]}'

MODELS = "https://models.blindrelay.internal/v1/chat/completions"
CONFIG = """
listen = "127.0.0.1:0"
identity_key = "identity.key"
[aggregate]
[[provider]]
name = "openai"
preset = "openai"
credential = { env = "KEY" }
[[provider]]
name = "groq"
preset = "groq"
credential = { env = "KEY" }
[[model]]
name = "m"
targets = [{ provider = "openai", model = "gpt-5.5-2026-10-01" }]
[[model]]
name = "another-model-with-a-longer-name"
targets = [{ provider = "groq", model = "oss" }]
[[model]]
name = "two-targets"
targets = [{ provider = "groq", model = "oss" }, { provider = "openai", model = "gpt-5.5", priority = 1 }]
"""

NOW = int(time.time()) // 10 * 10
KEY = SealingKey.generate(NOW - 3_600, NOW + 3_600)
WRITING = 0.004
"""Seconds until the relay has taken a record."""


@dataclass(frozen=True)
class Answer:
    """What the provider does.

    Attributes:
        pieces: seconds since the call, and bytes of the body.
        head_at: seconds until the head has arrived.
        failure: instead of a head.
        execution: what is known of the request after a failure.
        cut: whether the body breaks off after its last piece.
    """

    pieces: Sequence[tuple[float, bytes]] = ()
    head_at: float = 0.0
    status: int = 200
    content_type: bytes = b"text/event-stream"
    failure: bool = False
    execution: Execution.ValueType = EXECUTION_UNKNOWN
    cut: bool = False


@dataclass
class Seen:
    """What relay and client have of an exchange.

    Attributes:
        records: seconds since the request was accepted, and bytes of the gRPC message.
        body: as the client has it.
        error: its message, or "".
        refused: the outer status that ended it, if it was not OK.
    """

    records: list[tuple[float, int]] = field(default_factory=list)
    status: int = 0
    body: bytes = b""
    error: str = ""
    refused: OuterStatus | None = None

    @property
    def shape(self) -> list[tuple[int, int]]:
        """Milliseconds and bytes."""
        return [(round(at * 1_000), size) for at, size in self.records]


class _Body:
    """A ResponseBody whose bytes arrive as an Answer says."""

    def __init__(self, answer: Answer, began: float) -> None:
        self._answer = answer
        self._began = began
        self._waiting = list(answer.pieces)
        self._arrived = bytearray()

    @property
    def ended(self) -> bool:
        self._receive()
        return not self._waiting and not self._arrived and not self._answer.cut

    def take(self, size: int) -> bytes:
        self._receive()
        taken = bytes(self._arrived[:size])
        del self._arrived[:size]
        if not taken and not self._waiting and self._answer.cut:
            raise UpstreamError(Failure.CUT, "the provider cut its response", sent=True)
        return taken

    async def arrival(self, timeout: float | None) -> bool:
        self._receive()
        if not self._arrived and self._waiting:
            pause = self._began + self._waiting[0][0] - asyncio.get_running_loop().time()
            await asyncio.sleep(pause if timeout is None else min(pause, timeout))
            self._receive()
        return bool(self._arrived) or not self._waiting

    def close(self) -> None:
        pass

    def _receive(self) -> None:
        passed = asyncio.get_running_loop().time() - self._began
        while self._waiting and self._waiting[0][0] <= passed:
            self._arrived += self._waiting.pop(0)[1]


class _Transport:
    """A ProviderTransport that gives one answer after another."""

    def __init__(self, answers: Sequence[Answer]) -> None:
        self._answers = list(answers)

    async def call(self, _: object, body: bytearray) -> ProviderResponse:
        answer = self._answers.pop(0)
        began = asyncio.get_running_loop().time()
        await asyncio.sleep(answer.head_at)
        if answer.failure:
            raise ProviderError(Failure.REFUSED, "the provider could not be reached", answer.execution)
        headers = [(b"content-type", answer.content_type)]
        made = cast(Any, _Body(answer, began))
        return ProviderResponse(answer.status, headers, made, BODY_END_CHUNKED, close_allowed=False)


class _Relay:
    """The context of the bridge's gRPC call: gives the request, and notes the records."""

    def __init__(self, messages: list[bytes], client: ClientExchange) -> None:
        self._messages = messages
        self._client = client
        self.seen = Seen()

    async def send_initial_metadata(self, metadata: object) -> None:
        pass

    async def read(self) -> Any:
        return self._messages.pop(0) if self._messages else grpc.aio.EOF

    async def write(self, message: bytes) -> None:
        self.seen.records.append((asyncio.get_running_loop().time(), len(message)))
        self._take(self._client.response.open(ExchangeResponse.FromString(message).sealed))
        await asyncio.sleep(WRITING)

    def _take(self, part: ResponsePart) -> None:
        self.seen.status = part.head.status or self.seen.status
        self.seen.body += part.body
        self.seen.error += part.error.message


def exchange_of(*answers: Answer, profile: ShapingProfile.ValueType, **request: Any) -> Any:
    """One exchange, for in_virtual_time(). It gives what was seen of it. Each call gets its own answer."""
    body, give_up_at = request.get("body", STREAMED), request.get("give_up_at")
    return _exchange(answers, _head(profile, **request), body, give_up_at)


async def _exchange(
    answers: Sequence[Answer], head: RequestHead, body: bytes, give_up_at: float | None
) -> Seen:
    claimed, relay = _claimed(head, body)
    config = _config()
    checker = Checker(config.providers)
    runtime = Runtime(
        router=Router(config.providers, config.aggregate, cast(Any, _Transport(answers)), checker),
        clock=Clock(),
        log=AuditLog(lambda _: None),
        budget=RequestBudget(Quota(1_000_000)),
        max_request=1_000_000,
        checker=checker,
    )
    if give_up_at is not None:
        asyncio.get_running_loop().call_at(give_up_at, runtime.give_up)
    try:
        await Exchange(runtime, claimed, cast(Any, relay), b"peer").run()
    except CallRefusedError as refused:
        relay.seen.refused = refused.status
    return relay.seen


def _head(profile: ShapingProfile.ValueType, url: str = CHAT, **_: Any) -> RequestHead:
    return RequestHead(
        kind=EXCHANGE_KIND_EXCHANGE,
        method="POST",
        url=url,
        headers=[Header(name=b"content-type", value=b"application/json")],
        credential=CREDENTIAL_INJECTED,
        deadline_class=DEADLINE_CLASS_HOUR,
        shaping=Shaping(profile=profile),
    )


def _claimed(head: RequestHead, body: bytes) -> tuple[ClaimedExchange, _Relay]:
    envelope = Envelope(version=1, exchange_id=b"e" * 16, identity=b"i" * 32, key_id=KEY.key_id)
    envelope.issued_at, envelope.max_units = NOW, 1_000_000
    encoded = envelope.SerializeToString(deterministic=True)
    client = encapsulate(encoded, KEY.config)
    client.request.head(head)
    first, *more = [*client.request.body(body), *client.request.end()]
    bridge = decapsulate(encoded, client.encapsulated_secret, KEY)
    part = bridge.request.open(first)
    messages = [ExchangeRequest(sealed=sealed).SerializeToString() for sealed in more]
    return ClaimedExchange(
        *(part, bridge.request, bridge.response, NOW, envelope.max_units),
        *(sha256(encoded).digest(), bridge.rounding_coin),
    ), _Relay(messages, client)


@cache
def _config() -> BridgeConfig:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "bridge.toml"
        file.write_text(CONFIG)
        return read_bridge_config(file, {"KEY": "sk-test"})
