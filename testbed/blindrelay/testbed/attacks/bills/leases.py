"""Attacks of a client on what lets its exchanges start: leases, and the report of their end."""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Final
from unittest.mock import patch

from blindrelay.ledger.books import End, lines
from blindrelay.serving import leases
from blindrelay.serving.leases import LeaseReader, base64url, sign_lease
from blindrelay.testbed.attacks.bills.run import BillAttack
from blindrelay.testbed.attacks.bills.scene import BillScene
from blindrelay.testbed.billing_bridge import NOW

_KEY: Final = bytes(32)
_LIFETIME: Final = 300
_NO_ALGORITHM: Final = base64url(b'{"alg":"none","typ":"JWT"}')


class _Relay:
    """A relay process that knows the ledger's key."""

    def __init__(self) -> None:
        self.now = NOW
        self.leases = LeaseReader(lambda: self.now)
        self.leases.use_keys([_KEY])

    def claims(self, **changes: object) -> Mapping[str, object]:
        """Those of the customer's lease at this process."""
        names = {"sub": "customer", "jti": "lease", "aud": base64url(self.leases.node)}
        limits = {"concurrent": 1, "units": 1_000_000}
        return {**names, "iat": NOW, "exp": NOW + _LIFETIME, **limits, **changes}

    def admits(self, lease: str) -> bool:
        """Whether an exchange with this lease may start."""
        return self.leases.read(lease) is not None


def forged(_: BillScene) -> bool:
    """A client signs a lease itself, with limits of its own."""
    relay = _Relay()
    return relay.admits(sign_lease(relay.claims(concurrent=1_000_000), b"c" * 32))


def unsigned(_: BillScene) -> bool:
    """A client names "none" as the algorithm, and signs nothing."""
    relay = _Relay()
    claims = sign_lease(relay.claims(), _KEY).split(".")[1]
    return relay.admits(f"{_NO_ALGORITHM}.{claims}.")


def enlarged(_: BillScene) -> bool:
    """A client raises a limit in the lease that it was given."""
    relay = _Relay()
    header, _claims, signature = sign_lease(relay.claims(), _KEY).split(".")
    larger = sign_lease(relay.claims(concurrent=1_000_000), b"x" * 32).split(".")[1]
    return relay.admits(f"{header}.{larger}.{signature}")


def borrowed(_: BillScene) -> bool:
    """A client shows one process the lease of another, to have its limits once at each."""
    return _Relay().admits(sign_lease(_Relay().claims(), _KEY))


def kept(_: BillScene) -> bool:
    """A client goes on with a lease that it was given before its token was revoked."""
    relay = _Relay()
    lease = sign_lease(relay.claims(), _KEY)
    relay.admits(lease)
    relay.now += _LIFETIME
    return relay.admits(lease)


def copied(scene: BillScene) -> bool:
    """A client repeats an envelope, so that the refusal of the copy releases what the first may cost."""
    envelope = scene.exchange()
    scene.start(envelope)  # the copy
    scene.end(End(2, "refused", 0, 0))
    return scene.books.account("customer").outstanding == 0


@contextmanager
def _without_signature() -> Iterator[None]:
    """Relays that compare no signature, and look at no header."""
    with (
        patch.object(hmac, "compare_digest", lambda *_: True),
        patch.object(leases, "_HEADER", _Anything()),
    ):
        yield


class _Anything(str):
    """Equal to everything."""

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = str.__hash__


def _without_process() -> AbstractContextManager[object]:
    """Relays that take the leases of other processes."""
    read = leases._lease
    return patch.object(leases, "_lease", lambda claims, node: read({**claims, "aud": base64url(node)}, node))


def _without_end() -> AbstractContextManager[object]:
    """Relays for which a lease never ends."""
    read = leases._lease
    return patch.object(
        leases, "_lease", lambda claims, node: replace(read(claims, node), expires_at=1 << 40)
    )


def _releasing_at_any_refusal() -> AbstractContextManager[object]:
    """Books that release what is held for an exchange when one of its streams is refused."""
    usual = lines._LAPSE
    text = usual.text.replace(" AND exchange.outcome = given.outcome", "")
    return patch.object(lines, "_LAPSE", replace(usual, text=text))


_SIGNATURE: Final = "the ledger's signature"
_ADMITTED: Final = "an exchange with it may start"

LEASE_ATTACKS: Final = tuple(
    BillAttack(name, str(attack.__doc__), attack, stopped_by, double, shows)
    for name, attack, stopped_by, double, shows in (
        ("lease-forged", forged, _SIGNATURE, _without_signature, _ADMITTED),
        ("lease-unsigned", unsigned, _SIGNATURE, _without_signature, _ADMITTED),
        ("lease-enlarged", enlarged, _SIGNATURE, _without_signature, _ADMITTED),
        ("lease-borrowed", borrowed, "one lease, one process", _without_process, _ADMITTED),
        ("lease-kept", kept, "the lease's end", _without_end, _ADMITTED),
        (
            *("copy-releases-the-hold", copied, "of two streams, none releases what is held"),
            *(_releasing_at_any_refusal, "nothing is held for a running exchange"),
        ),
    )
)
