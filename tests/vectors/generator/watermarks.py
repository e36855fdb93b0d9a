"""Scenarios of watermarks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from generator.bill_parts import (
    signature_of,
    valid_delegation,
)
from generator.fixed import ALICE, CONFIG, IDENTITY, NOW, REPLICA, STRANGER, key_id, public
from generator.primitives import encode
from generator.scenario import Scenario
from nacl.signing import SigningKey

from blindrelay.v1.receipts_pb2 import (
    SignedWatermark,
    Watermark,
)


def scenarios() -> Iterator[Scenario]:
    def scenario(
        name: str, comment: str, expect: str, *, by: SigningKey = REPLICA, **changes: Any
    ) -> Scenario:
        fields: dict[str, Any] = {
            "version": 1,
            "identity": public(IDENTITY),
            "replica_id": b"\x11" * 16,
            "started_at": NOW - 600,
            "closed_before": NOW - 300,
            "key_ids": [key_id(CONFIG)],
            "open": [ALICE.envelope_hash],
            "count": 7,
            "units": 1_440,
        }
        encoded = encode(Watermark(**fields | changes))
        signature = signature_of("blindrelay/v1 watermark", encoded, by)
        delegated = encode(valid_delegation())
        return Scenario(
            "watermark",
            name,
            comment,
            expect,
            {
                "identity": public(IDENTITY),
                "now": NOW,
                "delegation": delegated,
                "delegation_signature": signature_of("blindrelay/v1 delegation", delegated, IDENTITY),
                "watermark": encode(SignedWatermark(watermark=encoded, signature=signature)),
            },
        )

    yield scenario("live", "One exchange is open.", "accept")
    yield scenario("ended", "The process has ended.", "accept", open=[], ended=True)
    yield scenario("most_keys", "64 keys.", "accept", key_ids=[bytes([n]) * 16 for n in range(64)])
    yield scenario("too_many_keys", "65 keys.", "malformed", key_ids=[bytes([n]) * 16 for n in range(65)])
    yield scenario("ended_and_open", "Ended, with an exchange open.", "malformed", ended=True)
    yield scenario("key_id_short", "15 bytes.", "malformed", key_ids=[bytes(15)])
    yield scenario("open_hash_short", "31 bytes.", "malformed", open=[bytes(31)])
    yield scenario("watermark_version_2", "A later version.", "malformed", version=2)
    yield scenario("foreign_watermark", "Of another bridge.", "wrong", identity=public(STRANGER))
    yield scenario("watermark_forged", "A stranger's signature.", "unsigned", by=STRANGER)
