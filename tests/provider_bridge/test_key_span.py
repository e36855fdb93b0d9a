"""A bridge keeps a key a little longer than clients may seal to it, but opens only exchanges of its span."""

from __future__ import annotations

from typing import Any, cast

import pytest

from blindrelay.provider_bridge.claims import ClaimMemory
from blindrelay.provider_bridge.clock import Clock
from blindrelay.provider_bridge.errors import UnclaimedError
from blindrelay.provider_bridge.exchange_opener import ExchangeOpener
from blindrelay.sealing import SealingKey, encapsulate
from blindrelay.v1.envelope import METADATA_KEY, encode_envelope
from blindrelay.v1.envelope_pb2 import Envelope
from blindrelay.v1.exchange_pb2 import ExchangeRequest
from blindrelay.v1.inner_pb2 import RequestHead

NOW = 1_800_000_000
KEY = SealingKey.generate(NOW - 600, NOW)


class Keys:
    identity = bytes(32)

    def find(self, key_id: bytes) -> SealingKey | None:
        return KEY


def claim(issued_at: int) -> None:
    """Opens an exchange that its client seals now, dated as given."""
    envelope = encode_envelope(
        Envelope(
            version=1,
            exchange_id=bytes(16),
            identity=Keys.identity,
            key_id=KEY.key_id,
            issued_at=issued_at,
            max_units=1,
        )
    )
    client = encapsulate(envelope, KEY.config)
    client.request.head(RequestHead(method="GET"))
    (sealed,) = client.request.end()
    first = ExchangeRequest(encapsulated_secret=client.encapsulated_secret, sealed=sealed)
    claims = ClaimMemory(Clock(wall=lambda: float(NOW), monotonic=lambda: 0.0))
    opening = ExchangeOpener(cast(Any, Keys()), claims)
    opening._claim([(METADATA_KEY, envelope)], first.SerializeToString(), b"peer")


def test_exchange_after_the_end_of_its_key_is_refused() -> None:
    claim(issued_at=NOW)
    with pytest.raises(UnclaimedError):
        claim(issued_at=NOW + 10)
