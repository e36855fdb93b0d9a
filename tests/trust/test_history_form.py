"""The text of a key history: it is read in exactly one way, or refused."""

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
    """A history with a successor, an announcement, two replicas and a contradiction."""
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


def test_history_is_the_same_after_reading_and_judges() -> None:
    again = decode_history(TEXT)
    assert encode_history(again) == TEXT
    assert (again.identities, again.announcement) == (HISTORY.identities, HISTORY.announcement)
    read, written = again.directories, HISTORY.directories
    assert (read.shown, read.proofs, read.looked) == (written.shown, written.proofs, written.looked)
    assert read.looked[IDENTITY.public_key] == [NOW + day * DAY for day in range(8)]
    at = NOW + 7 * DAY
    with pytest.raises(RolledBackError):
        again.admit(Replica(1).signed(at - 200, sequence=0), at)
    with pytest.raises(ForkedError):
        again.admit(Replica(2).signed(at, sequence=9), at)


def changed(**members: Any) -> str:
    """The history with these members; without those that are left out by `...`."""
    return json.dumps({name: each for name, each in (CONTENT | members).items() if each is not ...})


def announcing(**members: Any) -> str:
    return changed(announcement=CONTENT["announcement"] | members)


FIRST = CONTENT["shown"][0]
CHATTY = Replica(1)
MANY = [text_of(CHATTY.signed(NOW).SerializeToString()) for _ in range(129)]

REFUSED: dict[str, tuple[str, str]] = {
    "nothing": ("", "not JSON"),
    "cut": (TEXT[: len(TEXT) // 2], "not JSON, or it is incomplete"),
    "more after it": (TEXT + "{}", "not JSON"),
    "deep": ("[" * 100_000, "not JSON"),
    "duplicate key": (TEXT.replace("{", '{"identity": "br1", ', 1), "not JSON"),
    "a list": ("[]", "not a"),
    "a later version": (changed(format="blindrelay key history, version 2"), "version 1"),
    "a proof": (encode_proof(IDENTITY.public_key, (b"", b"")), "not a"),
    "another member": (changed(token="none"), "its members are not"),
    **{f"no {name}": (changed(**{name: ...}), "its members are not") for name in CONTENT if name != "format"},
    "a mistyped identity": (changed(identity=CONTENT["identity"][:-1] + "a"), "checksum"),
    "no identity": (changed(identity=None), "a list of strings"),
    "an identity twice": (changed(successors=[CONTENT["identity"]]), "damaged or forged|twice"),
    "successors as text": (changed(successors="br1"), "where a list is expected"),
    "a directory twice": (changed(shown=[*CONTENT["shown"], FIRST]), "a directory twice"),
    "a stranger's directory": (changed(identity=CONTENT["successors"][0], successors=[]), "another bridge's"),
    "an invalid directory": (changed(shown=["AAAA"]), "damaged or forged"),
    "a forged directory": (changed(shown=[FIRST[:200] + "AAAA" + FIRST[204:]]), "damaged or forged"),
    "a directory that is not base64": (changed(shown=["!"]), "where base64 is expected"),
    "base64 with stray bits": (changed(shown=["AB=="]), "not canonical"),
    "too many directories": (changed(shown=MANY), "too many directories or proofs"),
    "directories as numbers": (changed(shown=[1]), "list of strings"),
    "a proof of one": (changed(proofs=[[FIRST]]), "does not have two statements"),
    "a proof of nothing": (changed(proofs=[[FIRST, FIRST]]), "do not contradict"),
    "no list of proofs": (changed(proofs=None), "where a list is expected"),
    "looks as a list": (changed(looked=[]), "`looked` is malformed"),
    "looks of a stranger": (changed(looked={format_identity(STRANGER.public_key): [1]}), "unknown identity"),
    "looks out of order": (changed(looked={CONTENT["identity"]: [60, 119]}), "out of order"),
    "too many looks": (changed(looked={CONTENT["identity"]: [*range(0, 60 * 257, 60)]}), "none or too many"),
    "looks of no identity": (changed(looked={"br1": [1]}), "59 characters"),
    "no looks": (changed(looked={CONTENT["identity"]: []}), "none or too many"),
    "looks as text": (changed(looked={CONTENT["identity"]: ["1"]}), "where a time is expected"),
    "a negative time": (changed(complete_since=-1), "where a time is expected"),
    "a boolean time": (changed(complete_since=True), "where a time is expected"),
    "half a second": (TEXT.replace('"complete_since": 0', '"complete_since": 0.5'), "not JSON"),
    "not a number": (TEXT.replace('"complete_since": 0', '"complete_since": NaN'), "not JSON"),
    "an announcement as a list": (changed(announcement=[]), "announcement is malformed"),
    "an announcement without its start": (changed(announcement={"newest": 1}), "announcement is malformed"),
    "a short hash": (announcing(next_identity_hash="00"), "hash in its announcement"),
    "a hash in capitals": (announcing(next_identity_hash="AB" * 32), "hash in its announcement"),
    "a hash that is not hexadecimal": (announcing(next_identity_hash="xy"), "hash in its announcement"),
    "an end before the start": (
        announcing(since=1 << 62),
        "ends before it begins",
    ),
    "too large": (" " * 9 * MIB, "too large"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_invalid_history_is_refused(what: str) -> None:
    text, reason = REFUSED[what]
    with pytest.raises(HistoryFormError, match=reason):
        decode_history(text)


@given(st.integers(0, len(TEXT) - 1), st.integers(0, 127).map(chr))
def test_changed_character_changes_a_number_or_is_refused(at: int, character: str) -> None:
    try:
        again = decode_history(TEXT[:at] + character + TEXT[at + 1 :])
    except HistoryFormError:
        return
    read, written = again.directories, HISTORY.directories
    assert (again.identities, read.shown, read.proofs) == (HISTORY.identities, written.shown, written.proofs)


PROOF = HISTORY.directories.proofs[0]
PROOF_TEXT = encode_proof(IDENTITY.public_key, PROOF)


def test_proof_is_checked_with_the_identity_alone() -> None:
    identity, statements = decode_proof(PROOF_TEXT)
    assert (identity, statements) == (IDENTITY.public_key, PROOF)
    first, second = verify_proof(statements, identity)
    assert first.sequence == second.sequence
    assert first.statement != second.statement


def signed(replica: Replica, **changes: Any) -> bytes:
    return replica.signed(NOW, **changes).SerializeToString()


def delegated(end: int, issued_at: int = NOW) -> bytes:
    """The first statement of replica 1, under another delegation."""
    replica = Replica(1)
    statement = replica.signed(issued_at)
    own = IDENTITY.delegate(replica.signer.public_key, NOW - 59, end)
    statement.delegation, statement.delegation_signature = own.delegation, own.signature
    return statement.SerializeToString()


NO_PROOFS: dict[str, Callable[[], tuple[bytes, bytes]]] = {
    "one statement twice": lambda: (PROOF[0], PROOF[0]),
    "one statement, delegated twice": lambda: (signed(Replica(1)), delegated(NOW + DAY)),
    # A stolen signing key cannot make a proof for a time after its delegation.
    "one after its delegation": lambda: (signed(Replica(1)), delegated(NOW, issued_at=NOW + 1)),
    "two numbers": lambda: (signed(Replica(1)), signed(Replica(1), sequence=2)),
    "two replicas": lambda: (signed(Replica(1)), signed(Replica(2))),
    "another identity's": lambda: (
        signed(Replica(1, STRANGER)),
        signed(Replica(1, STRANGER), expires_at=NOW + 60),
    ),
    "one forged": lambda: (PROOF[0], PROOF[1][:-1] + bytes([PROOF[1][-1] ^ 1])),
    "an empty statement": lambda: (PROOF[0], b""),
    "a statement that is not protobuf": lambda: (PROOF[0], b"\xff"),
}


@pytest.mark.parametrize("what", NO_PROOFS)
def test_invalid_proof_is_refused(what: str) -> None:
    with pytest.raises(DirectoryError):
        verify_proof(NO_PROOFS[what](), IDENTITY.public_key)


NO_PROOF_TEXTS = {
    "not JSON": "",
    "not a": TEXT,
    "begins with": PROOF_TEXT.replace("br1", "br2"),
    "its members are not": PROOF_TEXT.replace("statements", "statement"),
    "two statements": json.dumps(json.loads(PROOF_TEXT) | {"statements": [FIRST]}),
}


@pytest.mark.parametrize("reason", NO_PROOF_TEXTS)
def test_text_that_is_not_a_proof_is_refused(reason: str) -> None:
    with pytest.raises(HistoryFormError, match=reason):
        decode_proof(NO_PROOF_TEXTS[reason])
    with pytest.raises(HistoryFormError, match="begins with"):
        decode_proof(json.dumps(json.loads(PROOF_TEXT) | {"identity": 1}))
