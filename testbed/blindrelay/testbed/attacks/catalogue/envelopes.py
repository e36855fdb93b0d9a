"""Attacks on the envelope: altered, stripped, doubled, in another encoding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, cast

from blindrelay.testbed.attacks.attack import UNNOTICED, Attack
from blindrelay.testbed.attacks.doubles.bridge import without_envelope_check
from blindrelay.testbed.attacks.relay import Hook
from blindrelay.v1.envelope_pb2 import Envelope
from blindrelay.v1.limits import MAX_ENVELOPE_SIZE, TIME_STEP

_REFUSED: Final = "RelayError refused"

_OTHERS: Final[dict[str, Callable[[Any], Any]]] = {
    "version": lambda version: version + 1,
    "exchange_id": lambda name: bytes(len(name)),
    "identity": lambda identity: bytes(reversed(identity)),
    "key_id": lambda key_id: bytes(reversed(key_id)),
    "issued_at": lambda seconds: seconds + TIME_STEP,
    "max_units": lambda units: units * 10,
    "service_class": lambda service_class: service_class + 1,
}
"""A legal or nearly legal value of each field, other than the client's."""

_STRIPPED: Final = tuple(name for name in _OTHERS if name != "service_class")


def _with(field: str, change: Callable[[Any], Any], envelope: bytes) -> Sequence[bytes]:
    changed = Envelope.FromString(envelope)
    setattr(changed, field, change(getattr(changed, field)))
    return [changed.SerializeToString(deterministic=True)]


def _without(field: str, envelope: bytes) -> Sequence[bytes]:
    changed = Envelope.FromString(envelope)
    changed.ClearField(cast(Any, field))
    return [changed.SerializeToString(deterministic=True)]


def _reordered(envelope: bytes) -> Sequence[bytes]:
    """The first field, version, behind all others."""
    return [envelope[2:] + envelope[:2]]


def _attack(
    name: str, about: str, envelopes: Callable[[bytes], Sequence[bytes]], stopped_by: str, end: str = _REFUSED
) -> Attack:
    hook = partial(Hook, envelopes=envelopes)
    return Attack(name, about, hook, (end,), 0, stopped_by, without_envelope_check, UNNOTICED)


_FORM: Final = "one encoding of an envelope"

# fmt: off
ENVELOPE_ATTACKS: Final = [
    *(
        _attack(
            f"alter-{field.replace('_', '-')}",
            f"The envelope's {field} is another one.",
            partial(_with, field, change),
            "routing by key_id" if field == "key_id" else "the envelope's hash in every key",
            "RelayError key_unknown" if field == "key_id" else _REFUSED,
        )
        for field, change in _OTHERS.items()
    ),
    *(
        _attack(
            f"strip-{field.replace('_', '-')}",
            f"The envelope's {field} is left out.",
            partial(_without, field),
            _FORM,
        )
        for field in _STRIPPED
    ),
    _attack("envelope-none", "The exchange has no envelope.", lambda envelope: [], _FORM),
    _attack("envelope-twice", "The exchange has its envelope twice.", lambda envelope: [envelope] * 2, _FORM),
    _attack("envelope-unknown-field", "The envelope has one field more.",
            lambda envelope: [envelope + b"\x78\x01"], _FORM),
    _attack("envelope-field-twice", "The envelope has one of its fields twice.",
            lambda envelope: [envelope[:2] + envelope], _FORM),
    _attack("envelope-reordered", "The envelope's fields have another order.", _reordered, _FORM),
    _attack("envelope-oversize", "The envelope is over 512 bytes.",
            lambda envelope: [envelope + b"\x7a\x80\x04" + bytes(MAX_ENVELOPE_SIZE)], _FORM),
]
# fmt: on
