"""Judges a request that the program sealed: it opens, says what it should, and has the right sizes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from blindrelay.sealing import OpenError, RequestOpener, RequestSealer, SealingError, SealingKey, decapsulate
from blindrelay.testing.conformance.check import Judge, equals, short
from blindrelay.testing.conformance.program import Answer
from blindrelay.v1.inner_pb2 import RequestHead
from blindrelay.v1.keys_pb2 import KeyConfig

Vector = dict[str, Any]

_MLKEM_SEED_SIZE: Final = 64
_SEEDS_SIZE: Final = 96


def key_of_seed(seed: bytes, config: bytes) -> SealingKey:
    """A bridge's key from X-Wing's seed of 32 bytes, with the validity of a config."""
    expanded = hashlib.shake_256(seed).digest(_SEEDS_SIZE)
    mlkem = MLKEM768PrivateKey.from_seed_bytes(expanded[:_MLKEM_SEED_SIZE])
    x25519 = X25519PrivateKey.from_private_bytes(expanded[_MLKEM_SEED_SIZE:])
    parsed = KeyConfig.FromString(config)
    return SealingKey(mlkem, x25519, parsed.not_before, parsed.not_after)


def judge_of_request(vector: Vector) -> Judge:
    """Judges the request of an `exchange` vector, which the program seals with a secret of its own."""
    key = key_of_seed(bytes.fromhex(vector["kem_seed"]), bytes.fromhex(vector["config"]))
    envelope = bytes.fromhex(vector["envelope"])
    message = vector["request_message"]

    def judge(answer: Answer) -> str | None:
        records = [bytes.fromhex(record) for record in answer["records"]]
        try:
            opener = decapsulate(envelope, bytes.fromhex(answer["encapsulated_secret"]), key).request
        except OpenError:
            return "the encapsulated secret does not open"
        return _wrong_with(opener, records, message)

    return judge


def _wrong_with(opener: RequestOpener, records: Sequence[bytes], message: Vector) -> str | None:
    head, body = RequestHead(), b""
    for number, record in enumerate(records, 1):
        try:
            part = opener.open(record)
        except SealingError as error:
            return f"record {number} of {len(records)} does not open: {error}"
        head.MergeFrom(part.head)
        body += part.body
    if not opener.finished:
        return "the last record is not a final one"
    headers = [[header.name.hex(), header.value.hex()] for header in head.headers]
    opened = {"method": head.method, "url": head.url, "headers": headers, "body": body.hex()}
    sizes, right = [len(record) for record in records], sizes_of_request(head, body)
    if sizes != right:
        return f"the records have {short(sizes)} bytes and should have {short(right)}"
    return equals(**message)(opened)


def sizes_of_request(head: RequestHead, body: bytes) -> list[int]:
    """The sizes of a request's records (section 9.3)."""
    sealer = RequestSealer(lambda _: bytearray(32))
    sealer.head(head)
    return [len(record) for record in (*sealer.body(body), *sealer.end())]
