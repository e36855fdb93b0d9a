"""Scenarios of key directories: one that a client fetches."""

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
HASH = b"\x22" * 32

Step = dict[str, Any]


def scenarios() -> Iterator[Scenario]:
    yield from _accepted()
    yield from _foreign()
    yield from _signatures()
    yield from _dates()
    yield from _malformed()
    yield from _configs()


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


Row = tuple[str, str, SignedKeyDirectory]
"""A name, a comment, and what the relay serves."""


def each(expect: str, rows: list[Row]) -> Iterator[Scenario]:
    for name, comment, message in rows:
        yield _one(name, comment, expect, message)


def listing(**changes: Any) -> SignedKeyDirectory:
    """A directory with these changes, correctly signed."""
    return signed(directory(**changes))


def delegated(**changes: int | bytes) -> SignedKeyDirectory:
    """A directory whose delegation has these changes, correctly signed."""
    return signed(delegated=delegation(**changes))


def replaced(**fields: bytes) -> SignedKeyDirectory:
    """A directory that is changed after it was signed."""
    message = signed()
    for name, value in fields.items():
        setattr(message, name, value)
    return message


def _accepted() -> Iterator[Scenario]:
    yield _two_keys()
    eight = [encode(key_config(KEM_KEY, NOW + 10 * place, NOW + EPOCH)) for place in range(8)]
    announcing = signed(directory(next_identity_hash=HASH), delegation(next_identity_hash=HASH))
    early = delegated(not_before=NOW + WINDOW)
    longest = listed_config(not_after=NOW - 600 + 2 * DAY)
    rows: list[Row] = [
        ("eight_keys", "The most that a directory holds.", listing(configs=eight)),
        ("next_identity", "A hash of the identity that will follow.", announcing),
        ("oldest", "Issued W seconds ago.", listing(issued_at=NOW - WINDOW)),
        ("newest", "Dated W seconds ahead.", listing(issued_at=NOW + WINDOW)),
        ("last_second", "At expires_at itself.", listing(issued_at=NOW - 10, expires_at=NOW)),
        ("started_when_issued", "Its replica has just started.", listing(started_at=NOW)),
        ("longest_lifetime", "172,800 seconds.", listing(expires_at=NOW + 2 * DAY)),
        ("config_validity_longest", "172,800 seconds.", listing(configs=[longest])),
        ("delegation_without_end", "A not_after of 2^64 - 1.", delegated(not_after=(1 << 64) - 1)),
        ("delegation_last_second", "At the delegation's not_after itself.", delegated(not_after=NOW)),
        ("delegation_first_second", "W seconds before the delegation's not_before.", early),
    ]
    yield from each("accept", rows)


def _two_keys() -> Scenario:
    second = encode(key_config(OTHER_KEM_KEY, NOW + 2_400, NOW + 6_000))
    both = directory(configs=[CONFIG, second])
    keys = [(CONFIG, NOW - 600, NOW + 3_000), (second, NOW + 2_400, NOW + 6_000)]
    stated = {
        "replica_id": both.replica_id,
        "sequence": both.sequence,
        "issued_at": both.issued_at,
        "expires_at": both.expires_at,
        "keys": [
            {"key_id": key_id(config), "not_before": first, "not_after": last, "config": config}
            for config, first, last in keys
        ],
    }
    comment = "A replica's directory: this epoch's key and the next."
    return _one("directory", comment, "accept", signed(both), directory=stated)


def _foreign() -> Iterator[Scenario]:
    said, by = directory(identity=public(STRANGER)), delegation(identity=public(STRANGER))
    theirs = signed(delegated=by, identity=STRANGER)
    rows: list[Row] = [
        ("foreign_bridge", "All in order, for another bridge.", signed(said, by, identity=STRANGER)),
        ("foreign_directory", "Another bridge's directory under our delegation.", signed(said)),
        ("foreign_delegation", "Our directory under another bridge's delegation.", theirs),
    ]
    yield from each("foreign_identity", rows)


def _signatures() -> Iterator[Scenario]:
    good = signed()
    forged = signed(delegated=delegation(signing_key=public(STRANGER)), replica=STRANGER, identity=STRANGER)
    unlabelled = replaced(delegation_signature=IDENTITY.sign(good.delegation).signature)
    as_directory = replaced(delegation_signature=sign(IDENTITY, DIRECTORY_LABEL, good.delegation))
    short = replaced(delegation_signature=good.delegation_signature[:-1])
    stretched = replaced(delegation=encode(delegation(not_after=NOW + 365 * DAY)))
    usurped = listing(next_identity_hash=HASH)
    delegations: list[Row] = [
        ("delegation_forged", "A stranger delegates to itself in our name.", forged),
        ("delegation_signature_unlabelled", "Signed without its label.", unlabelled),
        ("delegation_signature_other_label", "Signed as if it were a directory.", as_directory),
        ("delegation_signature_short", "63 bytes.", short),
        ("delegation_stretched", "A later not_after than the one signed.", stretched),
        ("successor_not_delegated", "Only the replica announces a successor.", usurped),
        ("successor_left_out", "Only the identity announces it.", delegated(next_identity_hash=HASH)),
    ]
    yield from each("bad_delegation", delegations)
    by_identity = signed(replica=IDENTITY)
    as_delegation = replaced(signature=sign(REPLICA, DELEGATION_LABEL, good.directory))
    altered = replaced(directory=encode(directory(sequence=8)))
    directories: list[Row] = [
        ("directory_forged", "Signed by a key that nobody delegated to.", signed(replica=STRANGER)),
        ("directory_signed_by_identity", "Only the delegated key signs directories.", by_identity),
        ("signature_other_label", "Signed as if it were a delegation.", as_delegation),
        ("signature_short", "63 bytes.", replaced(signature=good.signature[:-1])),
        ("signature_missing", "No signature.", replaced(signature=b"")),
        ("directory_altered", "A later sequence than the one signed.", altered),
    ]
    yield from each("bad_signature", directories)


def _dates() -> Iterator[Scenario]:
    yield _one("client_an_hour_ahead", "The client's clock is off.", "stale", signed(), NOW + 3_600)
    yield _one("client_an_hour_behind", "The client's clock is off.", "future", signed(), NOW - 3_600)
    ahead = listing(issued_at=NOW + WINDOW + 1)
    yield _one("dated_ahead", "Dated W + 1 seconds ahead.", "future", ahead)
    stale: list[Row] = [
        ("stale", "Issued W + 1 seconds ago.", listing(issued_at=NOW - WINDOW - 1)),
        ("expired", "One second after expires_at.", listing(issued_at=NOW - 20, expires_at=NOW - 1)),
    ]
    yield from each("stale", stale)
    early = delegated(not_before=NOW + WINDOW + 1)
    later = signed(directory(issued_at=NOW - 10), delegation(not_before=NOW + WINDOW - 9))
    joined = "Valid now, and not when the directory was issued: a relay put the two together."
    delegations: list[Row] = [
        ("delegation_expired", "One second after its not_after.", delegated(not_after=NOW - 1)),
        ("delegation_not_yet_valid", "W + 1 seconds before its not_before.", early),
        ("delegation_of_another_time", joined, later),
    ]
    yield from each("bad_delegation", delegations)


def _malformed() -> Iterator[Scenario]:
    cut, no_message = b"\x0a\x20abc", listing(configs=[b"\x12\x05abc"])
    rows: list[Row] = [
        ("replica_id_short", "16 bytes.", listing(replica_id=bytes(15))),
        ("replica_id_long", "16 bytes.", listing(replica_id=bytes(17))),
        ("next_identity_hash_short", "32 bytes or none.", listing(next_identity_hash=bytes(31))),
        ("price_table_hash_short", "32 bytes or none.", listing(price_table_hash=bytes(31))),
        ("no_keys", "At least one.", listing(configs=[])),
        ("nine_keys", "At most eight.", listing(configs=[CONFIG] * 9)),
        ("lifetime_zero", "It expires as it is issued.", listing(expires_at=NOW)),
        ("lifetime_negative", "It expires before it is issued.", listing(expires_at=NOW - 1)),
        ("started_after_issued", "Its replica started later.", listing(started_at=NOW + 1)),
        ("lifetime_too_long", "172,801 seconds.", listing(expires_at=NOW + 2 * DAY + 1)),
        ("directory_not_protobuf", "A field that ends before its length.", signed(cut)),
        ("delegation_not_protobuf", "A field that ends early.", signed(delegated=cut)),
        ("config_not_protobuf", "A field that ends before its length.", no_message),
    ]
    yield from each("malformed", rows)


def _configs() -> Iterator[Scenario]:
    configs = {
        "public_key_short": ("1,216 bytes.", listed_config(public_key=bytes(1_215))),
        "validity_empty": ("No moment at all.", listed_config(not_after=NOW - 600)),
        "validity_too_long": ("172,810 seconds.", listed_config(not_after=NOW - 590 + 2 * DAY)),
        "validity_uneven": ("Multiples of 10.", listed_config(not_after=NOW + 1)),
    }
    for name, (comment, config) in configs.items():
        yield _one(f"config_{name}", comment, "malformed", listing(configs=[config]))
    comment = "Beside a good key, one of a suite that is not ours."
    other_suite = listing(configs=[CONFIG, listed_config(suite=2)])
    yield _one("downgrade_refused", comment, "unknown_suite", other_suite)


def listed_config(**changes: int | bytes) -> bytes:
    config = key_config(KEM_KEY)
    config.MergeFrom(KeyConfig(**changes))  # type: ignore[arg-type]
    return encode(config)
