"""Doubles of the client: no required end, clear text, sealing again, no idle limit, no directory check."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Final
from unittest.mock import patch

from google.protobuf.message import DecodeError

from blindrelay.client import BlindRelayError, CutResponseError
from blindrelay.client.sealed_stream import SealedStream
from blindrelay.client.sender import Sender
from blindrelay.client.timeouts import Timeouts
from blindrelay.sealing import keys, records
from blindrelay.sealing.errors import SealingError
from blindrelay.testbed.attacks.doubles.double import patches
from blindrelay.trust import VerifiedKey, verify_directory
from blindrelay.v1.exchange_pb2 import ExchangeResponse, GetKeyDirectoryResponse
from blindrelay.v1.inner_pb2 import BodyEnd, ResponseHead, ResponsePart, ResponseTail
from blindrelay.v1.keys import key_id
from blindrelay.v1.keys_pb2 import KeyConfig, KeyDirectory, SignedKeyDirectory

_CLIENT: Final = "blindrelay.client"


def without_final() -> AbstractContextManager[object]:
    """The client takes the end of the stream for the end of the response."""
    body, head = SealedStream.body, SealedStream.head

    async def whatever_came(self: SealedStream) -> bytes | None:
        try:
            return await body(self)
        except CutResponseError:
            return None

    async def whatever_head(self: SealedStream) -> ResponseHead:
        try:
            return await head(self)
        except CutResponseError:
            return ResponseHead(status=200)

    return patches(
        patch.object(SealedStream, "body", whatever_came),
        patch.object(SealedStream, "head", whatever_head),
    )


def without_end() -> AbstractContextManager[object]:
    """The client reads on after the response's end, and takes what comes as it is."""
    body = SealedStream.body

    async def more(self: Any) -> bytes | None:
        piece = await body(self)
        if piece is None and (message := await self._call.read()) is not None:
            return ExchangeResponse.FromString(message).sealed
        return piece

    async def no_drain(self: Any, seconds: float | None) -> None:
        return None

    return patches(patch.object(SealedStream, "body", more), patch.object(SealedStream, "_drain", no_drain))


def with_fallback_to_clear() -> AbstractContextManager[object]:
    """What does not open is taken for a response in clear."""
    opened = records.RecordOpener.open

    def in_clear(self: Any, sealed: bytes) -> tuple[memoryview, bool]:
        begun = self._cipher is not None
        try:
            return opened(self, sealed)
        except SealingError:
            self._failure = None
        return memoryview(_as_clear_text(sealed, begun).SerializeToString()), True

    return patches(
        patch.object(records.RecordOpener, "open", in_clear),
        patch(f"{_CLIENT}.sealed_stream.ExchangeResponse", _AnyMessage),
    )


def without_reseal_rule() -> AbstractContextManager[object]:
    """The client seals again by itself, once, after any error."""
    perform = Sender.perform

    async def twice(self: Sender, request: Any, body: Any) -> Any:
        try:
            return await perform(self, request, body)
        except BlindRelayError:
            return await perform(self, request, body)

    return patch.object(Sender, "perform", twice)


def without_idle_limit() -> AbstractContextManager[object]:
    """The client waits for as long as it takes."""
    return patch.object(Timeouts, "of", lambda *_: Timeouts(None, None, None, None, None))


def without_directory_check() -> AbstractContextManager[object]:
    """The client seals to the first key that it is shown, and checks no signature."""

    async def shown(self: Any, link: Any, issued_at: int, timeout: float | None) -> VerifiedKey:
        return _unverified(await _first_directory(link))

    return patch.object(Sender, "_key", shown)


def without_suite_check() -> AbstractContextManager[object]:
    """The client takes any suite, and any signature, for its own."""
    return patches(without_directory_check(), patch.object(keys, "parse_config", KeyConfig.FromString))


def without_history() -> AbstractContextManager[object]:
    """The client verifies each directory, and remembers none."""

    async def verified(self: Any, link: Any, issued_at: int, timeout: float | None) -> VerifiedKey:
        signed = await _first_directory(link)
        return verify_directory(signed, self.config.identity, int(self.clock())).keys[0]

    return patch.object(Sender, "_key", verified)


class _AnyMessage:
    """Reads an ExchangeResponse; other bytes become its sealed record."""

    @staticmethod
    def FromString(message: bytes) -> ExchangeResponse:  # noqa: N802 (protobuf's name)
        try:
            return ExchangeResponse.FromString(message)
        except DecodeError:
            return ExchangeResponse(sealed=message)


def _as_clear_text(message: bytes, begun: bool) -> ResponsePart:
    """The part that the bytes are, or a whole response with them in its body."""
    try:
        part = ResponsePart.FromString(message)
    except DecodeError:
        part = ResponsePart()
    if part.HasField("error"):
        return part
    if begun or not part.HasField("head"):
        part = ResponsePart(head=None if begun else ResponseHead(status=200), body=message)
    part.tail.CopyFrom(ResponseTail(body_end=BodyEnd.BODY_END_NONE))
    return part


async def _first_directory(link: Any) -> SignedKeyDirectory:
    """The first of those that the relay serves now."""
    return GetKeyDirectoryResponse.FromString(await link.directories()).directories[0]


def _unverified(signed: SignedKeyDirectory) -> VerifiedKey:
    directory = KeyDirectory.FromString(signed.directory)
    config = directory.configs[0]
    return VerifiedKey(
        identity=directory.identity,
        key_id=key_id(config),
        config=config,
        not_before=0,
        not_after=1 << 40,
    )
