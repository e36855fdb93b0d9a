"""Leases: what a client shows for its exchanges to a relay with a ledger (spec/protocol.md, annex E).

A lease is a JSON Web Token (RFC 7519) of five minutes, signed with HS256 by a key that the ledger shares with
its relays. It names an account by a pseudonym, has the account's limits, and is valid at one relay process.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import math
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, Final

from blindrelay.serving.tokens import CallMetadata, bearer
from blindrelay.v1.identity_text import parse_identity
from blindrelay.v1.limits import DEFAULT_MAX_UNITS, MAX_LEASE_SIZE

NODE_SIZE: Final = 16
"""Bytes that name a relay process to its ledger. They are random."""

MAX_SECONDS: Final = 3_600
"""How long a lease is valid, and how long a relay remembers that one is revoked."""

MAX_REMEMBERED: Final = 10_000
"""Leases whose signature need not be checked again: about 1 KiB each."""

_SCOPES: Final = ("bridges", "classes", "addresses")

_RATE: Final = re.compile("[0-9.e+-]{1,24}/[0-9.e+-]{1,24}")

Claims = Mapping[str, object]
Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Lease:
    """What a valid lease says.

    Attributes:
        account: a pseudonym ("sub").
        lease_id: "jti".
        issued_at, expires_at: Unix seconds of the ledger's clock.
        concurrent: exchanges at once.
        units: the largest max_units of an exchange.
        rate, burst: exchanges per second, and how many may come at once. Without a rate there is no limit.
        bridges: identities, 32 bytes each. Here and below, None means any.
        classes: service classes.
        addresses: networks from which it may be shown.
    """

    account: str
    lease_id: str
    issued_at: int
    expires_at: int
    concurrent: int
    units: int
    rate: float | None = None
    burst: float = 1.0
    bridges: frozenset[bytes] | None = None
    classes: frozenset[int] | None = None
    addresses: tuple[Network, ...] | None = None

    def allows_address(self, host: str) -> bool:
        """Whether it may be shown from this IP address. An IPv4 address may be mapped to IPv6."""
        if self.addresses is None:
            return True
        try:
            address = ip_address(host)
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self.addresses)


class LeaseReader:
    """Reads the leases that are valid at this process, whose random name is `node`.

    `clock` returns Unix seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.node = secrets.token_bytes(NODE_SIZE)
        self._clock = clock
        self._keys: tuple[bytes, ...] = ()
        self._read: dict[str, Lease] = {}

    @property
    def ready(self) -> bool:
        """Whether there are keys."""
        return bool(self._keys)

    @property
    def keys(self) -> tuple[bytes, ...]:
        """The keys that sign leases, newest first."""
        return self._keys

    def use_keys(self, keys: Sequence[bytes]) -> None:
        """The keys that sign leases from now on."""
        self._keys = tuple(keys)
        self._read.clear()

    def shown(self, metadata: CallMetadata) -> Lease | None:
        """The lease in a call's metadata, or None unless that is exactly one that read() accepts."""
        text = bearer(metadata)
        return None if text is None else self.read(text)

    def read(self, text: str, grace_seconds: float = 0.0) -> Lease | None:
        """The lease, or None if it is forged, malformed, expired, or issued for another process.

        `grace_seconds` after its end, it is still read.
        """
        lease = self._read.get(text)
        if lease is None:
            lease = self._verified(text)
            if lease is None:
                return None
            if len(self._read) >= MAX_REMEMBERED:
                self._read.clear()
            self._read[text] = lease
        return lease if self._clock() < lease.expires_at + grace_seconds else None

    def _verified(self, text: str) -> Lease | None:
        if len(text) > MAX_LEASE_SIZE or not text.isascii():
            return None
        signed, _, signature = text.rpartition(".")
        expected = (_signature(signed, key) for key in self._keys)
        # The header is compared as text, so no other algorithm can be chosen.
        if not any(hmac.compare_digest(signature, each) for each in expected):
            return None
        header, _, claims = signed.partition(".")
        if header != _HEADER:
            return None
        try:
            return _lease(json.loads(_from_base64url(claims)), self.node)
        except (ValueError, TypeError, KeyError):
            return None

    def __repr__(self) -> str:
        return f"<LeaseReader, {len(self._keys)} keys>"


def sign_lease(claims: Claims, key: bytes) -> str:
    """The JWT with these claims, in its compact form (RFC 7515, section 3.1). `key` has 32 bytes.

    `claims` begin with the account ("sub"). A plain lease says before it that it is one: see beginning_of().
    """
    shown = {"plain": True, **claims} if _is_plain(claims) else claims
    signed = f"{_HEADER}.{_encoded(shown)}"
    return f"{signed}.{_signature(signed, key)}"


def beginning_of(account: str = "") -> str:
    """How the plain leases of an account begin, or all plain ones: their text as far as its bytes decide it.

    A plain lease has no scope, and enough units for an exchange with the usual max_units. So a proxy that
    cannot read a lease can tell by its beginning that only its signature and times are left to check.
    """
    claims = f'{{"plain":true,"sub":"{account}'.encode()
    return f"{_HEADER}.{base64url(claims)[: len(claims) * 8 // 6]}"


def _is_plain(claims: Claims) -> bool:
    units = claims.get("units")
    return isinstance(units, int) and units >= DEFAULT_MAX_UNITS and claims.keys().isdisjoint(_SCOPES)


def rate_claim(rate: float, burst: float) -> str:
    """The claim "rate", as text, so that a proxy can compare it: "2.5/10"."""
    return f"{rate:g}/{burst:g}"


def new_lease_key() -> bytes:
    """A key that signs leases: 32 random bytes."""
    return secrets.token_bytes(32)


def base64url(data: bytes) -> str:
    """Base64url without padding (RFC 7515, section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _encoded(claims: Claims) -> str:
    return base64url(json.dumps(claims, separators=(",", ":")).encode())


_HEADER: Final = _encoded({"alg": "HS256", "typ": "JWT"})


def _signature(signed: str, key: bytes) -> str:
    return base64url(hmac.digest(key, signed.encode("ascii"), hashlib.sha256))


def _from_base64url(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)


def _lease(claims: dict[str, Any], node: bytes) -> Lease:
    """Raises ValueError, TypeError or KeyError unless the claims are those of a lease for this node."""
    if claims["aud"] != base64url(node):
        raise ValueError("the lease is for another process")
    if claims["exp"] - claims["iat"] > MAX_SECONDS:
        raise ValueError("the lease is valid for too long")
    rate, burst = _rate(claims.get("rate"))
    return Lease(
        account=_text(claims["sub"]),
        lease_id=_text(claims["jti"]),
        issued_at=_whole(claims["iat"]),
        expires_at=_whole(claims["exp"]),
        concurrent=_whole(claims["concurrent"]),
        units=_whole(claims["units"]),
        rate=rate,
        burst=burst,
        bridges=None if (texts := claims.get("bridges")) is None else frozenset(map(parse_identity, texts)),
        classes=None if (classes := claims.get("classes")) is None else frozenset(map(_whole, classes)),
        addresses=None if (nets := claims.get("addresses")) is None else tuple(map(ip_network, nets)),
    )


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError("a name is missing")
    return value


def _whole(value: object) -> int:
    if type(value) is not int or value < 0:
        raise TypeError("a number is not whole, or negative")
    return value


def _rate(claim: object) -> tuple[float | None, float]:
    """Of "2.5/10": 2.5 exchanges per second, 10 at once. Without the claim there is no limit."""
    if claim is None:
        return None, 1.0
    if not isinstance(claim, str) or not _RATE.fullmatch(claim):
        raise TypeError("a rate is not two numbers")
    rate, burst = map(float, claim.split("/"))
    if not 0 < rate < math.inf or not 1 <= burst < math.inf:
        raise ValueError("a rate or its burst is not positive")
    return rate, burst
