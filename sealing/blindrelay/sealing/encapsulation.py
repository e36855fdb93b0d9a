"""Encapsulation and the key schedule (spec/protocol.md, section 8).

Each exchange has a fresh secret and its own pair of keys. Only the objects that encapsulate() and
decapsulate() return can seal and open that exchange; the keys never leave this module.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from blindrelay.sealing.errors import KeyConfigError, OpenError, StateError
from blindrelay.sealing.keys import SealingKey, public_key_of
from blindrelay.sealing.requests import RequestOpener, RequestSealer
from blindrelay.sealing.responses import ResponseOpener, ResponseSealer
from blindrelay.v1 import labels
from blindrelay.v1.envelope import parse_envelope
from blindrelay.v1.limits import ENCAPSULATED_SECRET_SIZE, RESPONSE_NONCE_SIZE
from blindrelay.v1.units import COIN_SIZE

_SUITE: Final = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_SECRET_SIZE: Final = 32
_KEY_SIZE: Final = 32


@dataclass(frozen=True, repr=False)
class ClientExchange:
    """What the client needs for one exchange.

    Attributes:
        encapsulated_secret: 1,168 bytes, for the first message.
        request: seals the request.
        response: opens the response to this exchange only.
        rounding_coin: gives the 8 bytes that round a receipt's units (annex E.4), once a record of the
            response has opened. Before that it raises StateError.
    """

    encapsulated_secret: bytes
    request: RequestSealer
    response: ResponseOpener
    rounding_coin: Callable[[], bytes]


@dataclass(frozen=True, repr=False)
class BridgeExchange:
    """What the bridge needs for one exchange.

    Attributes:
        request: opens the request.
        response: seals the response.
        rounding_coin: the 8 bytes that round a receipt's units (annex E.4).
    """

    request: RequestOpener
    response: ResponseSealer
    rounding_coin: bytes


def encapsulate(envelope: bytes, config: bytes) -> ClientExchange:
    """Begins an exchange on the client's side: seals a fresh secret to the key in exact KeyConfig bytes.

    Raises EnvelopeError if the envelope is not valid, StateError if it names another key, and
    KeyConfigError if the config is not valid in this version.
    """
    public_key = public_key_of(config)
    if parse_envelope(envelope).key_id != public_key.key_id:
        raise StateError("the envelope does not name the key to seal to")
    secret = os.urandom(_SECRET_SIZE)
    bound = hashlib.sha256(envelope).digest()
    try:
        sealed = _SUITE.encrypt(secret, public_key.key, info=labels.labelled(labels.ENCAPSULATION, bound))
    except ValueError:
        raise KeyConfigError("the public key is a point of low order") from None
    coin = _Coin()
    return ClientExchange(
        sealed,
        RequestSealer(partial(_derive, secret, labels.REQUEST, bound)),
        ResponseOpener(partial(coin.derived_with_key, secret, bound)),
        coin,
    )


def decapsulate(envelope: bytes, encapsulated_secret: bytes, key: SealingKey) -> BridgeExchange:
    """Begins an exchange on the bridge's side.

    Raises OpenError unless the secret was sealed to this key under this envelope.
    """
    bound = hashlib.sha256(envelope).digest()
    secret = b""
    if len(encapsulated_secret) == ENCAPSULATED_SECRET_SIZE:
        info = labels.labelled(labels.ENCAPSULATION, bound)
        with suppress(InvalidTag, ValueError):  # the OpenError must not carry a cause
            secret = _SUITE.decrypt(encapsulated_secret, key.private_key, info=info)
    if len(secret) != _SECRET_SIZE:
        raise OpenError
    nonce = os.urandom(RESPONSE_NONCE_SIZE)
    return BridgeExchange(
        RequestOpener(partial(_derive, secret, labels.REQUEST, bound)),
        ResponseSealer(partial(_derive, secret, labels.RESPONSE, bound), response_nonce=nonce),
        _coin(secret, bound, nonce),
    )


class _Coin:
    """The client's coin. It is derived with the response's key, so that the secret is not kept for it."""

    def __init__(self) -> None:
        self._coin: bytes | None = None

    def derived_with_key(self, secret: bytes, bound: bytes, nonce: bytes) -> bytearray:
        self._coin = _coin(secret, bound, nonce)
        return _derive(secret, labels.RESPONSE, bound, nonce)

    def __call__(self) -> bytes:
        if self._coin is None:
            raise StateError("an exchange has no coin before its response begins")
        return self._coin


def _coin(secret: bytes, bound: bytes, nonce: bytes) -> bytes:
    """The nonce is the bridge's, or a client could draw secrets until it has a coin that rounds down."""
    info = labels.labelled(labels.ROUNDING, bound + nonce)
    return HKDF(algorithm=SHA256(), length=COIN_SIZE, salt=None, info=info).derive(secret)


def _derive(secret: bytes, label: bytes, bound: bytes, nonce: bytes) -> bytearray:
    """A direction's key, 32 bytes: `bound` is the hash of the envelope, `nonce` the response's or empty."""
    key = bytearray(_KEY_SIZE)
    info = labels.labelled(label, bound + nonce)
    HKDF(algorithm=SHA256(), length=_KEY_SIZE, salt=None, info=info).derive_into(secret, key)
    return key
