"""Which leases a relay process accepts."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest

from blindrelay.serving import authorization
from blindrelay.serving.leases import MAX_SECONDS, LeaseReader, base64url, beginning_of, sign_lease
from blindrelay.v1.identity_text import format_identity
from blindrelay.v1.limits import MAX_LEASE_SIZE

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
NOW = 1_700_000_000
IDENTITY = bytes(range(32))


class Clock:
    """Unix seconds."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def leases(clock: Clock) -> LeaseReader:
    reader = LeaseReader(clock)
    reader.use_keys([KEY])
    return reader


def claims(leases: LeaseReader, **changes: Any) -> dict[str, Any]:
    """Those of a valid lease. A change to None leaves a claim out."""
    valid = {
        "sub": "YWNjb3VudC0xMjM0",
        "jti": "bGVhc2UtMTIzNDU2",
        "aud": base64url(leases.node),
        "iat": NOW,
        "exp": NOW + 300,
        "concurrent": 100,
        "units": 1_000_000,
    }
    return {name: value for name, value in (valid | changes).items() if value is not None}


def token(leases: LeaseReader, key: bytes = KEY, **changes: Any) -> str:
    return sign_lease(claims(leases, **changes), key)


def test_lease_says_whose_it_is_and_its_limits(leases: LeaseReader) -> None:
    plain = leases.read(token(leases))
    assert plain is not None
    assert (plain.account, plain.lease_id, plain.expires_at) == (
        "YWNjb3VudC0xMjM0",
        "bGVhc2UtMTIzNDU2",
        NOW + 300,
    )
    assert (plain.concurrent, plain.units, plain.rate) == (100, 1_000_000, None)
    assert (plain.bridges, plain.classes, plain.addresses) == (None, None, None)
    scoped = leases.read(
        token(
            leases,
            rate="0.5/3",
            bridges=[format_identity(IDENTITY)],
            classes=[0, 2],
            addresses=["192.0.2.0/24", "2001:db8::/32"],
        )
    )
    assert scoped is not None
    assert (scoped.rate, scoped.burst) == (0.5, 3.0)
    assert scoped.bridges == frozenset({IDENTITY})
    assert scoped.classes == frozenset({0, 2})
    for host, allowed in (
        ("192.0.2.7", True),
        ("192.0.3.7", False),
        ("::ffff:192.0.2.7", True),
        ("2001:db8::1", True),
        ("2001:db9::1", False),
        ("unix", False),
        ("", False),
    ):
        assert scoped.allows_address(host) is allowed
        assert plain.allows_address(host)


@pytest.mark.parametrize(
    ("changes", "plain"),
    [
        ({}, True),
        ({"rate": "2/4", "units": 2_000_000}, True),
        ({"units": 999_999}, False),
        ({"bridges": []}, False),
        ({"classes": [0]}, False),
        ({"addresses": ["192.0.2.0/24"]}, False),
    ],
)
def test_plain_lease_shows_its_account_at_the_beginning(
    leases: LeaseReader, changes: dict[str, Any], plain: bool
) -> None:
    text = token(leases, **changes)
    assert text.startswith(beginning_of()) is plain
    assert text.startswith(beginning_of("YWNjb3VudC0xMjM0")) is plain
    assert not text.startswith(beginning_of("YWNjb3VudC0xMjMA"))
    assert leases.read(text)


def test_it_is_read_by_what_others_write(leases: LeaseReader) -> None:
    """Any JWT library makes the same bytes of these claims: nothing here is ours alone."""
    header, body = (
        base64.urlsafe_b64encode(json.dumps(part, separators=(",", ":")).encode()).rstrip(b"=")
        for part in ({"alg": "HS256", "typ": "JWT"}, {"plain": True, **claims(leases)})
    )
    signature = base64.urlsafe_b64encode(hmac.new(KEY, header + b"." + body, hashlib.sha256).digest())
    text = b".".join((header, body, signature.rstrip(b"="))).decode()
    assert text == token(leases)
    assert leases.read(text)


def test_forged_lease_is_unknown(leases: LeaseReader) -> None:
    good = token(leases)
    header, body, signature = good.split(".")
    assert leases.read(good)
    more = base64url(json.dumps(claims(leases, concurrent=10_000)).encode())
    none = base64url(b'{"alg":"none","typ":"JWT"}')
    other_header = base64url(b'{"typ":"JWT","alg":"HS256"}')
    resigned = base64url(hmac.digest(KEY, f"{other_header}.{body}".encode(), hashlib.sha256))
    for forged in (
        token(leases, OTHER_KEY),
        f"{header}.{more}.{signature}",
        f"{none}.{body}.",
        f"{none}.{body}.{signature}",
        f"{other_header}.{body}.{resigned}",
        f"{header}.{body}.",
        f"{header}.{body}",
        f"{good}=",
        f"{good} ",
        good[:-1],
        body,
        "",
        "..",
        "é" * 50,
        token(leases, padding="x" * MAX_LEASE_SIZE),
    ):
        assert leases.read(forged) is None


@pytest.mark.parametrize(
    "change",
    [
        *({name: None} for name in ("sub", "jti", "aud", "iat", "exp", "concurrent", "units")),
        *({name: wrong} for name in ("iat", "exp", "concurrent", "units") for wrong in (-1, 1.5, "1", True)),
        *({name: wrong} for name in ("sub", "jti") for wrong in ("", 7)),
        *(
            {"rate": wrong}
            for wrong in (0, 2.5, "1", "0/1", "1/0", "-1/1", "nan/1", "1/inf", "1/1/1", "a/b", "1e/1")
        ),
        {"exp": NOW + MAX_SECONDS + 1},
        {"bridges": ["br1wrong"]},
        {"bridges": 7},
        {"classes": ["0"]},
        {"addresses": ["192.0.2.1/24"]},
        {"addresses": ["here"]},
    ],
)
def test_lease_with_a_wrong_claim_is_unknown(leases: LeaseReader, change: dict[str, Any]) -> None:
    assert leases.read(token(leases, **change)) is None


def test_lease_is_good_at_one_process_until_it_expires(leases: LeaseReader, clock: Clock) -> None:
    other = LeaseReader(clock)
    other.use_keys([KEY])
    good = token(leases)
    assert leases.read(good)
    assert other.read(good) is None
    clock.now = NOW + 299
    assert leases.read(good)
    clock.now = NOW + 300
    assert leases.read(good) is None


def test_keys_change(leases: LeaseReader, clock: Clock) -> None:
    """Two are valid at a time. Without any, no lease is."""
    old, new = token(leases), token(leases, OTHER_KEY)
    assert leases.read(old)
    leases.use_keys([OTHER_KEY, KEY])
    assert leases.read(old)
    assert leases.read(new)
    leases.use_keys([OTHER_KEY])
    assert leases.read(old) is None
    assert leases.read(new)
    fresh = LeaseReader(clock)
    assert not fresh.ready
    assert fresh.read(token(fresh)) is None


def test_it_is_shown_once_and_as_a_bearer_token(leases: LeaseReader) -> None:
    good = token(leases)
    shown = authorization(good)
    assert leases.shown([("user-agent", "x"), shown])
    for metadata in ([], None, [shown, shown], [("authorization", good)], [("authorization", good.encode())]):
        assert leases.shown(metadata) is None


def test_nothing_secret_is_printed(leases: LeaseReader) -> None:
    assert repr(leases) == "<LeaseReader, 1 keys>"
