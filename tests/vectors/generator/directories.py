"""Scenarios of key directories, each as what one client fetches, one step after the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from generator.fixed import (
    CONFIG,
    EPOCH,
    IDENTITY,
    KEM_KEY,
    NOW,
    OTHER_KEM_KEY,
    REPLICA,
    STRANGER,
    WINDOW,
    key_config,
    key_id,
    public,
)
from generator.primitives import encode, label
from generator.scenario import Scenario
from nacl.signing import SigningKey

from blindrelay.v1.keys_pb2 import Delegation, KeyConfig, KeyDirectory, SignedKeyDirectory

DELEGATION_LABEL = "blindrelay/v1 delegation"
DIRECTORY_LABEL = "blindrelay/v1 key directory"
DAY = 86_400

Step = dict[str, Any]


def scenarios() -> Iterator[Scenario]:
    yield from _accepted()
    yield from _foreign()
    yield from _signatures()
    yield from _dates()
    yield from _malformed()
    yield from _histories()


def directory(**changes: int | bytes | list[bytes]) -> KeyDirectory:
    fields: dict[str, Any] = {
        "identity": public(IDENTITY),
        "replica_id": b"\x11" * 16,
        "sequence": 7,
        "issued_at": NOW,
        "expires_at": NOW + 2 * EPOCH,
        "configs": [CONFIG],
    }
    return KeyDirectory(**fields | changes)


def delegation(**changes: int | bytes) -> Delegation:
    fields: dict[str, Any] = {
        "identity": public(IDENTITY),
        "signing_key": public(REPLICA),
        "not_before": NOW - DAY,
        "not_after": NOW + 7 * DAY,
    }
    return Delegation(**fields | changes)


def sign(key: SigningKey, name: str, message: bytes) -> bytes:
    return key.sign(label(name, message)).signature


def signed(
    listed: KeyDirectory | bytes | None = None,
    delegated: Delegation | bytes | None = None,
    *,
    replica: SigningKey = REPLICA,
    identity: SigningKey = IDENTITY,
) -> SignedKeyDirectory:
    listed = directory() if listed is None else listed
    delegated = delegation() if delegated is None else delegated
    directory_bytes = listed if isinstance(listed, bytes) else encode(listed)
    delegation_bytes = delegated if isinstance(delegated, bytes) else encode(delegated)
    return SignedKeyDirectory(
        directory=directory_bytes,
        signature=sign(replica, DIRECTORY_LABEL, directory_bytes),
        delegation=delegation_bytes,
        delegation_signature=sign(identity, DELEGATION_LABEL, delegation_bytes),
    )


def step(message: SignedKeyDirectory, expect: str, now: int = NOW) -> Step:
    return {"now": now, "signed": encode(message), "expect": expect}


def _one(
    name: str, comment: str, expect: str, message: SignedKeyDirectory, now: int = NOW, **more: Any
) -> Scenario:
    fields = {"identity": public(IDENTITY), "steps": [step(message, expect, now)]}
    return Scenario("directory", name, comment, expect, fields | more)


def _accepted() -> Iterator[Scenario]:
    second = encode(key_config(OTHER_KEM_KEY, NOW + 2_400, NOW + 6_000))
    both = directory(configs=[CONFIG, second])
    keys = [(CONFIG, NOW - 600, NOW + 3_000), (second, NOW + 2_400, NOW + 6_000)]
    yield _one(
        "directory", "A replica's directory: this epoch's key and the next.", "accept", signed(both),
        directory={
            "replica_id": both.replica_id,
            "sequence": both.sequence,
            "issued_at": both.issued_at,
            "expires_at": both.expires_at,
            "keys": [
                {"key_id": key_id(config), "not_before": first, "not_after": last, "config": config}
                for config, first, last in keys
            ],
        },
    )  # fmt: skip
    eight = [encode(key_config(KEM_KEY, NOW + 10 * place, NOW + EPOCH)) for place in range(8)]
    yield _one("eight_keys", "The most that a directory holds.", "accept", signed(directory(configs=eight)))
    successor = directory(next_identity_hash=b"\x22" * 32)
    announcing = delegation(next_identity_hash=b"\x22" * 32)
    yield _one(
        "next_identity", "A hash of the identity that will follow.", "accept", signed(successor, announcing)
    )
    yield _one("oldest", "Issued W seconds ago.", "accept", signed(directory(issued_at=NOW - WINDOW)))
    yield _one("newest", "Dated W seconds ahead.", "accept", signed(directory(issued_at=NOW + WINDOW)))
    last = directory(issued_at=NOW - 10, expires_at=NOW)
    yield _one("last_second", "At expires_at itself.", "accept", signed(last))
    longest = directory(expires_at=NOW + 2 * DAY)
    yield _one(
        "started_when_issued", "Its replica has just started.", "accept", signed(directory(started_at=NOW))
    )
    yield _one("longest_lifetime", "172,800 seconds.", "accept", signed(longest))
    ending = signed(delegated=delegation(not_after=NOW))
    yield _one("delegation_last_second", "At the delegation's not_after itself.", "accept", ending)
    beginning = signed(delegated=delegation(not_before=NOW + WINDOW))
    yield _one(
        "delegation_first_second", "W seconds before the delegation's not_before.", "accept", beginning
    )


def _foreign() -> Iterator[Scenario]:
    stranger = public(STRANGER)
    theirs = signed(directory(identity=stranger), delegation(identity=stranger), identity=STRANGER)
    yield _one("foreign_bridge", "All in order, for another bridge.", "foreign_identity", theirs)
    theirs = signed(directory(identity=stranger))
    yield _one(
        "foreign_directory", "Another bridge's directory under our delegation.", "foreign_identity", theirs
    )
    theirs = signed(delegated=delegation(identity=stranger), identity=STRANGER)
    yield _one(
        "foreign_delegation", "Our directory under another bridge's delegation.", "foreign_identity", theirs
    )


def _signatures() -> Iterator[Scenario]:
    forged = signed(delegated=delegation(signing_key=public(STRANGER)), replica=STRANGER, identity=STRANGER)
    yield _one("delegation_forged", "A stranger delegates to itself in our name.", "bad_delegation", forged)
    plain = signed()
    plain.delegation_signature = IDENTITY.sign(plain.delegation).signature
    yield _one("delegation_signature_unlabelled", "Signed without its label.", "bad_delegation", plain)
    crossed = signed()
    crossed.delegation_signature = sign(IDENTITY, DIRECTORY_LABEL, crossed.delegation)
    yield _one(
        "delegation_signature_other_label", "Signed as if it were a directory.", "bad_delegation", crossed
    )
    short = signed()
    short.delegation_signature = short.delegation_signature[:-1]
    yield _one("delegation_signature_short", "63 bytes.", "bad_delegation", short)
    stretched = signed()
    stretched.delegation = encode(delegation(not_after=NOW + 365 * DAY))
    yield _one("delegation_stretched", "A later not_after than the one signed.", "bad_delegation", stretched)
    usurping = signed(directory(next_identity_hash=b"\x22" * 32))
    yield _one(
        "successor_not_delegated", "Only the replica announces a successor.", "bad_delegation", usurping
    )
    silenced = signed(delegated=delegation(next_identity_hash=b"\x22" * 32))
    yield _one("successor_left_out", "Only the identity announces it.", "bad_delegation", silenced)

    yield _one(
        "directory_forged",
        "Signed by a key that nobody delegated to.",
        "bad_signature",
        signed(replica=STRANGER),
    )
    by_identity = signed(replica=IDENTITY)
    yield _one(
        "directory_signed_by_identity",
        "Only the delegated key signs directories.",
        "bad_signature",
        by_identity,
    )
    crossed = signed()
    crossed.signature = sign(REPLICA, DELEGATION_LABEL, crossed.directory)
    yield _one("signature_other_label", "Signed as if it were a delegation.", "bad_signature", crossed)
    short = signed()
    short.signature = short.signature[:-1]
    yield _one("signature_short", "63 bytes.", "bad_signature", short)
    missing = signed()
    missing.signature = b""
    yield _one("signature_missing", "No signature.", "bad_signature", missing)
    altered = signed()
    altered.directory = encode(directory(sequence=8))
    yield _one("directory_altered", "A later sequence than the one signed.", "bad_signature", altered)


def _dates() -> Iterator[Scenario]:
    old = signed(directory(issued_at=NOW - WINDOW - 1))
    yield _one("stale", "Issued W + 1 seconds ago.", "stale", old)
    yield _one("client_an_hour_ahead", "The client's clock is off.", "stale", signed(), NOW + 3_600)
    past = signed(directory(issued_at=NOW - 20, expires_at=NOW - 1))
    yield _one("expired", "One second after expires_at.", "stale", past)
    ahead = signed(directory(issued_at=NOW + WINDOW + 1))
    yield _one("dated_ahead", "Dated W + 1 seconds ahead.", "future", ahead)
    yield _one("client_an_hour_behind", "The client's clock is off.", "future", signed(), NOW - 3_600)
    ended = signed(delegated=delegation(not_after=NOW - 1))
    yield _one("delegation_expired", "One second after its not_after.", "bad_delegation", ended)
    early = signed(delegated=delegation(not_before=NOW + WINDOW + 1))
    yield _one("delegation_not_yet_valid", "W + 1 seconds before its not_before.", "bad_delegation", early)
    earlier = signed(directory(issued_at=NOW - 10), delegation(not_before=NOW + WINDOW - 9))
    yield _one(
        "delegation_of_another_time",
        "Valid now, and not when the directory was issued: a relay put the two together.",
        "bad_delegation",
        earlier,
    )


def _malformed() -> Iterator[Scenario]:
    cases: dict[str, tuple[str, KeyDirectory | bytes]] = {
        "replica_id_short": ("16 bytes.", directory(replica_id=bytes(15))),
        "replica_id_long": ("16 bytes.", directory(replica_id=bytes(17))),
        "next_identity_hash_short": ("32 bytes or none.", directory(next_identity_hash=bytes(31))),
        "no_keys": ("At least one.", directory(configs=[])),
        "nine_keys": ("At most eight.", directory(configs=[CONFIG] * 9)),
        "lifetime_zero": ("It expires as it is issued.", directory(expires_at=NOW)),
        "lifetime_negative": ("It expires before it is issued.", directory(expires_at=NOW - 1)),
        "started_after_issued": ("Its replica started later.", directory(started_at=NOW + 1)),
        "lifetime_too_long": ("172,801 seconds.", directory(expires_at=NOW + 2 * DAY + 1)),
        "directory_not_protobuf": ("A field that ends before its length.", b"\x0a\x20abc"),
        "config_not_protobuf": ("A field that ends before its length.", directory(configs=[b"\x12\x05abc"])),
        "config_public_key_short": ("1,216 bytes.", directory(configs=[_config(public_key=bytes(1_215))])),
        "config_validity_empty": ("No moment at all.", directory(configs=[_config(not_after=NOW - 600)])),
        "config_validity_uneven": ("Multiples of 10.", directory(configs=[_config(not_after=NOW + 1)])),
    }
    for name, (comment, listed) in cases.items():
        yield _one(name, comment, "malformed", signed(listed))
    yield _one(
        "delegation_not_protobuf", "A field that ends early.", "malformed", signed(delegated=b"\x0a\x20abc")
    )
    spoilt = directory(configs=[CONFIG, _config(suite=2)])
    yield _one(
        "downgrade_refused",
        "Beside a good key, one of a suite that is not ours.",
        "unknown_suite",
        signed(spoilt),
    )


def _config(**changes: int | bytes) -> bytes:
    config = key_config(KEM_KEY)
    config.MergeFrom(KeyConfig(**changes))  # type: ignore[arg-type]
    return encode(config)


def _histories() -> Iterator[Scenario]:
    def history(name: str, comment: str, expect: str, *steps: Step, **more: Any) -> Scenario:
        return Scenario(
            "directory", name, comment, expect, {"identity": public(IDENTITY), "steps": list(steps)} | more
        )

    first, second = signed(directory(sequence=7)), signed(directory(sequence=8))
    newer = step(second, "accept")
    yield history(
        "rolled_back",
        "An older directory after a newer one.",
        "rolled_back",
        newer,
        step(first, "rolled_back"),
    )
    yield history("renewed", "A newer directory after an older one.", "accept", step(first, "accept"), newer)
    yield history("served_twice", "The same bytes again.", "accept", newer, newer)
    renewed = signed(directory(sequence=8), delegation(not_after=NOW + 8 * DAY))
    yield history(
        "delegation_renewed", "The same directory, delegated anew.", "accept", newer, step(renewed, "accept")
    )
    other = step(signed(directory(sequence=1, replica_id=b"\x33" * 16)), "accept")
    yield history("another_replica", "Each replica counts for itself.", "accept", newer, other)
    split = signed(directory(sequence=8, configs=[encode(key_config(OTHER_KEM_KEY))]))
    yield history(
        "per_client_config_detected", "Two of one number: somebody has keys of his own.", "forked",
        newer, step(split, "forked"), proof=[encode(second), encode(split)],
    )  # fmt: skip
    yield history(
        "refused_ones_are_not_remembered", "One that is refused for its date moves nothing.", "accept",
        step(second, "stale", NOW + 3_600), step(first, "accept"),
    )  # fmt: skip
