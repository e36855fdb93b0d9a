"""A bridge's first message: envelope, encapsulated secret, first record, claim (sections 6, 8 and 11.1).

The fuzzer holds the keys of the exchange, so that its records open.
"""

from __future__ import annotations

from typing import Any, Final, cast

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from google.protobuf.message import DecodeError

from blindrelay.provider_bridge.claims import ClaimMemory
from blindrelay.provider_bridge.clock import Clock
from blindrelay.provider_bridge.errors import UnclaimedError
from blindrelay.provider_bridge.exchange_opener import ExchangeOpener
from blindrelay.sealing import OpenError, SealingError, SealingKey, decapsulate
from blindrelay.serving import CallRefusedError
from blindrelay.v1.envelope import METADATA_KEY, EnvelopeError
from blindrelay.v1.envelope_pb2 import Envelope
from blindrelay.v1.exchange_pb2 import ExchangeRequest
from blindrelay.v1.inner_pb2 import RequestPart

from ..alter import altered, edited
from ..tape import Tape, written
from ..target import Target, check
from ..vectors import NOW, raw, vector
from .records import FINALS, HEAD, HostileStream, any_plaintext

_ALICE: Final = vector("encapsulation/alice")
_ENVELOPE: Final = raw(_ALICE["envelope"])
_SECRET: Final = raw(_ALICE["encapsulated_secret"])
_IDENTITY: Final = Envelope.FromString(_ENVELOPE).identity
_SEALED_TO: Final = vector("key/key")
_SEALING_KEY: Final = SealingKey(
    MLKEM768PrivateKey.from_seed_bytes(raw(_SEALED_TO["mlkem_seed"])),
    X25519PrivateKey.from_private_bytes(raw(_SEALED_TO["x25519_private_key"])),
    int(_SEALED_TO["not_before"]),
    int(_SEALED_TO["not_after"]),
)


def encapsulated_secret(data: bytes) -> None:
    """A secret and its envelope, changed: none but the client's own opens."""
    tape = Tape(data)
    envelope, secret = edited(tape, _ENVELOPE), edited(tape, _SECRET)
    decapsulate(envelope, secret, _SEALING_KEY)
    check((envelope, secret) == (_ENVELOPE, _SECRET), "no other secret opens")


class _Keys:
    identity = _IDENTITY

    def find(self, key_id: bytes) -> SealingKey | None:
        return _SEALING_KEY if key_id == _SEALING_KEY.key_id else None


def opening(data: bytes) -> None:
    """A call's metadata and first message, at a bridge that holds the key."""
    tape = Tape(data)
    claims = ClaimMemory(Clock(wall=lambda: float(NOW), monotonic=lambda: 0.0))
    door = ExchangeOpener(cast(Any, _Keys()), claims)
    envelope = _ENVELOPE if tape.flag() else altered(tape, Envelope.FromString(_ENVELOPE))
    sealed = HostileStream(raw(_ALICE["request_key"])).seal(any_plaintext(tape), tape.choice(FINALS))
    first = ExchangeRequest(encapsulated_secret=_SECRET, sealed=sealed)
    message = altered(tape, first)
    # What ExchangeOpener.open turns into one refusal, without the time that it takes for it.
    claimed = door._claim([(METADATA_KEY, envelope)], message, b"peer")
    check(envelope == _ENVELOPE and len(claims) == 1, "what opens is claimed, under its own envelope")
    check(claimed.issued_at == Envelope.FromString(envelope).issued_at, "dated by its envelope")
    try:
        door._claim([(METADATA_KEY, envelope)], message, b"peer")
    except UnclaimedError:
        return
    check(False, "an exchange is claimed once")


_REFUSED = (UnclaimedError, EnvelopeError, SealingError, DecodeError, CallRefusedError)
_GOOD_HEAD: Final = RequestPart(head=HEAD).SerializeToString()

TARGETS = (
    Target("encapsulated_secret", encapsulated_secret, (OpenError,), lambda: [written(4, 4)], 2_048),
    Target("opening", opening, _REFUSED, lambda: [written(1, 7, _GOOD_HEAD, 0, 0, 0, 0, b"")], 1_024),
)
