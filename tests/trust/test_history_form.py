"""The text of a key history: the same again after reading, and no other reading of any text."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blindrelay.trust import (
    DirectoryError,
    ForkedError,
    HistoryFormError,
    KeyHistory,
    RolledBackError,
    decode_history,
    decode_proof,
    encode_history,
    encode_proof,
    format_identity,
    identity_hash,
    verify_proof,
)
from blindrelay.trust.json_form import text_of

from .replicas import DAY, IDENTITY, NOW, STRANGER, SUCCESSOR, Replica

MIB = 1_048_576


def forked_history() -> KeyHistory:
    """With a successor, an announcement, two replicas, and a contradiction."""
    replica, liar = Replica(1), Replica(2)
    history = KeyHistory(IDENTITY.public_key)
    for at in range(NOW, NOW + 8 * DAY, DAY):
        history.admit(replica.signed(at, next_identity_hash=identity_hash(SUCCESSOR.public_key)), at)
    at = NOW + 7 * DAY
    new = Replica(3, SUCCESSOR)
    history.admit(new.signed(at, next_identity_hash=bytes(31) + b"\x01"), at)
    history.admit(liar.signed(at), at)
    with pytest.raises(ForkedError):
        history.admit(liar.signed(at + 1, sequence=1), at)
    return history


HISTORY = forked_history()
TEXT = encode_history(HISTORY)
CONTENT: dict[str, Any] = json.loads(TEXT)


def test_a_history_is_the_same_after_reading() -> None:
    again = decode_history(TEXT)
    assert encode_history(again) == TEXT
    assert again.identities == HISTORY.identities
    assert again.announcement == HISTORY.announcement
    assert again.directories.shown == HISTORY.directories.shown
    assert again.directories.proofs == HISTORY.directories.proofs
    assert again.directories.looked == HISTORY.directories.looked
    assert again.directories.looked[IDENTITY.public_key] == [NOW + day * DAY for day in range(8)]


def test_what_was_read_goes_on_judging() -> None:
    again = decode_history(TEXT)
    at = NOW + 7 * DAY
    older = Replica(1).signed(at - 200, sequence=0)
    with pytest.raises(RolledBackError):
        again.admit(older, at)
    with pytest.raises(ForkedError):
        again.admit(Replica(2).signed(at, sequence=9), at)


def changed(**members: Any) -> str:
    return json.dumps(CONTENT | members)


def without(name: str) -> str:
    return json.dumps({key: value for key, value in CONTENT.items() if key != name})


ANNOUNCED = CONTENT["announcement"]
FIRST = CONTENT["shown"][0]

SPOILT: dict[str, tuple[str, str]] = {
    "nothing": ("", "not JSON"),
    "cut": (TEXT[: len(TEXT) // 2], "not JSON, or not whole"),
    "more after it": (TEXT + "{}", "not JSON"),
    "deep": ("[" * 100_000, "not JSON"),
    "twice a key": (TEXT.replace("{", '{"identity": "br1", ', 1), "not JSON"),
    "a list": ("[]", "not a"),
    "a later version": (changed(format="blindrelay key history, version 2"), "version 1"),
    "a proof": (encode_proof(IDENTITY.public_key, (b"", b"")), "not a"),
    "another member": (changed(token="none"), "other members"),
    **{f"no {name}": (without(name), "other members") for name in CONTENT if name != "format"},
    "a mistyped identity": (changed(identity=CONTENT["identity"][:-1] + "a"), "checksum"),
    "no identity": (changed(identity=None), "a list of texts"),
    "an identity twice": (changed(successors=[CONTENT["identity"]]), "damaged or forged|twice"),
    "successors that are none": (changed(successors="br1"), "where a list stands"),
    "a directory twice": (changed(shown=[*CONTENT["shown"], FIRST]), "a directory twice"),
    "a directory of a stranger": (
        changed(identity=CONTENT["successors"][0], successors=[]),
        "another bridge's",
    ),
    "a directory that is none": (changed(shown=["AAAA"]), "damaged or forged"),
    "a forged directory": (changed(shown=[FIRST[:200] + "AAAA" + FIRST[204:]]), "damaged or forged"),
    "a directory that is not base64": (changed(shown=["!"]), "base64"),
    "base64 with stray bits": (changed(shown=["AB=="]), "more than one reading"),
    "directories that are numbers": (changed(shown=[1]), "list of texts"),
    "a proof of one": (changed(proofs=[[FIRST]]), "not two statements"),
    "a proof of nothing": (changed(proofs=[[FIRST, FIRST]]), "do not contradict"),
    "proofs that are none": (changed(proofs=None), "where a list stands"),
    "looks that are none": (changed(looked=[]), "times of identities"),
    "looks of a stranger": (changed(looked={format_identity(STRANGER.public_key): [1]}), "another identity"),
    "looks out of order": (changed(looked={CONTENT["identity"]: [60, 119]}), "out of order"),
    "too many looks": (changed(looked={CONTENT["identity"]: [*range(0, 60 * 257, 60)]}), "too many"),
    "looks of nobody": (changed(looked={"br1": [1]}), "59 characters"),
    "looks without any": (changed(looked={CONTENT["identity"]: []}), "too many, or"),
    "looks that are texts": (changed(looked={CONTENT["identity"]: ["1"]}), "a time stands"),
    "a negative time": (changed(complete_since=-1), "where a time stands"),
    "a time that is a truth": (changed(complete_since=True), "where a time stands"),
    "half a second": (TEXT.replace('"complete_since": 0', '"complete_since": 0.5'), "not JSON"),
    "not a number": (TEXT.replace('"complete_since": 0', '"complete_since": NaN'), "not JSON"),
    "an announcement of no form": (changed(announcement=[]), "an announcement stands"),
    "an announcement without its start": (changed(announcement={"newest": 1}), "an announcement stands"),
    "a short hash": (changed(announcement=ANNOUNCED | {"next_identity_hash": "00"}), "a hash stands"),
    "a hash in capitals": (
        changed(announcement=ANNOUNCED | {"next_identity_hash": "AB" * 32}),
        "a hash stands",
    ),
    "a hash that is none": (changed(announcement=ANNOUNCED | {"next_identity_hash": "xy"}), "a hash stands"),
    "an end before the start": (
        changed(announcement=ANNOUNCED | {"since": 1 << 62}),
        "ends before it begins",
    ),
    "too much": (" " * 9 * MIB, "larger than"),
}


@pytest.mark.parametrize("what", SPOILT)
def test_a_spoilt_history_is_refused(what: str) -> None:
    text, reason = SPOILT[what]
    with pytest.raises(HistoryFormError, match=reason):
        decode_history(text)


def test_more_directories_than_a_history_keeps_are_refused() -> None:
    replica = Replica(1)
    many = [text_of(replica.signed(NOW).SerializeToString()) for _ in range(129)]
    with pytest.raises(HistoryFormError, match="more directories or proofs"):
        decode_history(changed(shown=many))


@given(st.integers(0, len(TEXT) - 1), st.integers(0, 127).map(chr))
def test_no_changed_character_gives_another_history_of_the_same_directories(at: int, character: str) -> None:
    """Whatever is read, is read in full: it is the same text, or differs in a number, or is refused."""
    try:
        again = decode_history(TEXT[:at] + character + TEXT[at + 1 :])
    except HistoryFormError:
        return
    assert again.identities == HISTORY.identities
    assert again.directories.shown == HISTORY.directories.shown
    assert again.directories.proofs == HISTORY.directories.proofs


PROOF = HISTORY.directories.proofs[0]
PROOF_TEXT = encode_proof(IDENTITY.public_key, PROOF)


def test_a_proof_can_be_checked_with_the_identity_alone() -> None:
    identity, statements = decode_proof(PROOF_TEXT)
    assert (identity, statements) == (IDENTITY.public_key, PROOF)
    first, second = verify_proof(statements, identity)
    assert first.sequence == second.sequence
    assert first.statement != second.statement


def signed(replica: Replica, **changes: Any) -> bytes:
    return replica.signed(NOW, **changes).SerializeToString()


def redelegated() -> bytes:
    """The first statement of replica 1 under a delegation made anew."""
    replica = Replica(1)
    again = replica.signed(NOW)
    renewed = replica.delegation(NOW + 1)
    again.delegation, again.delegation_signature = renewed.delegation, renewed.signature
    return again.SerializeToString()


NO_PROOFS: dict[str, Callable[[], tuple[bytes, bytes]]] = {
    "one statement twice": lambda: (PROOF[0], PROOF[0]),
    "one statement, delegated twice": lambda: (signed(Replica(1)), redelegated()),
    "two numbers": lambda: (signed(Replica(1)), signed(Replica(1), sequence=2)),
    "two replicas": lambda: (signed(Replica(1)), signed(Replica(2))),
    "another identity's": lambda: (
        signed(Replica(1, STRANGER)),
        signed(Replica(1, STRANGER), expires_at=NOW + 60),
    ),
    "one forged": lambda: (PROOF[0], PROOF[1][:-1] + bytes([PROOF[1][-1] ^ 1])),
    "one that is nothing": lambda: (PROOF[0], b""),
    "one that is no message": lambda: (PROOF[0], b"\xff"),
}


@pytest.mark.parametrize("what", NO_PROOFS)
def test_what_proves_nothing(what: str) -> None:
    with pytest.raises(DirectoryError):
        verify_proof(NO_PROOFS[what](), IDENTITY.public_key)


def test_a_statement_outside_its_delegation_proves_nothing() -> None:
    """A thief of an old delegation cannot make one, at times for which it does not speak."""
    late = Replica(1).signed(NOW + 1)
    delegated = Replica(1).signer, IDENTITY.delegate(Replica(1).signer.public_key, NOW - 60, NOW)
    late.delegation, late.delegation_signature = delegated[1].delegation, delegated[1].signature
    with pytest.raises(DirectoryError, match="delegation has expired"):
        verify_proof((signed(Replica(1)), late.SerializeToString()), IDENTITY.public_key)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not JSON"),
        (TEXT, "not a"),
        (PROOF_TEXT.replace("br1", "br2"), "begins with"),
        (PROOF_TEXT.replace("statements", "statement"), "other members"),
        (json.dumps(json.loads(PROOF_TEXT) | {"statements": [FIRST]}), "two statements"),
        (json.dumps(json.loads(PROOF_TEXT) | {"identity": 1}), "begins with"),
    ],
)
def test_a_file_that_is_no_proof_at_all(text: str, reason: str) -> None:
    with pytest.raises(HistoryFormError, match=reason):
        decode_proof(text)
