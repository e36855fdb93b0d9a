"""Key histories and contradictions as text, which clients give to each other (section 5).

They come from strangers, so every signature in them is verified. The fuzzer signs what it makes up.
"""

from __future__ import annotations

import json
from typing import Any, Final

from blindrelay.trust import DirectoryError, HistoryFormError, KeyHistory, compare, format_identity
from blindrelay.trust.contradiction import FORMAT as CONTRADICTION
from blindrelay.trust.contradiction import decode_proof, encode_proof, verify_proof
from blindrelay.trust.history_form import decode_history, encode_history
from blindrelay.trust.json_form import text_of
from blindrelay.v1.keys_pb2 import SignedKeyDirectory

from ..statements import GOOD_DIRECTORY, OTHER_DIRECTORY, PINNED, SUCCESSOR, check_proof, made_directory
from ..tape import Tape, written
from ..target import Target, check

_IDENTITY: Final = format_identity(PINNED)
_ODD: Final[tuple[Any, ...]] = (
    *(None, 0, -1, 1 << 63, 1.5, "", "br1", [], {}, [[]], ["x"], [None], True, "AA=="),
    _IDENTITY,
)


def key_history(data: bytes) -> None:
    """A history from a stranger: what it lists is signed, and it is written as it was read."""
    tape = Tape(data)
    genuine: set[bytes] = set()
    text = _text(tape, _history(tape, genuine))
    history = decode_history(text)
    again = encode_history(history)
    check(encode_history(decode_history(again)) == again, "a history is written as it was read")
    announced = history.announcement
    check(announced is None or announced.since <= announced.newest, "an announcement ends after it begins")
    shown = [each.statement for each in history.directories.shown]
    proven = [_statement(each) for proof in history.directories.proofs for each in proof]
    check({*shown, *proven} <= genuine, "nothing is believed without its signatures")
    found = compare({"ours": KeyHistory(PINNED), "theirs": history, "others": decode_history(again)})
    for proof in [*history.directories.proofs, *(each.proof for each in found.differences if each.proof)]:
        check_proof(*proof)


def contradiction(data: bytes) -> None:
    """A proof from a stranger: it convicts only a replica that signed both statements."""
    tape = Tape(data)
    genuine: set[bytes] = set()
    named = format_identity(tape.choice((PINNED, SUCCESSOR)))
    members = {"format": CONTRADICTION, "identity": named, "statements": _statements(tape, genuine)}
    text = _text(tape, members)
    identity, proof = decode_proof(text)
    check(json.loads(text)["statements"] == [text_of(each) for each in proof], "bytes have one spelling")
    check(decode_proof(encode_proof(identity, proof)) == (identity, proof), "written as it was read")
    verify_proof(proof, identity)
    check(identity in (PINNED, SUCCESSOR), "of an identity that signed")
    check({_statement(each) for each in proof} <= genuine, "both are signed")
    check_proof(*proof)


def _history(tape: Tape, genuine: set[bytes]) -> dict[str, Any]:
    announcement = {"next_identity_hash": "11" * 32, "since": tape.near(1), "newest": tape.near(10)}
    made = {
        "successors": [format_identity(SUCCESSOR)] * (tape.byte() % 3),
        "announcement": announcement if tape.flag() else None,
        "complete_since": tape.near(0),
        "shown": _statements(tape, genuine),
        "proofs": [_statements(tape, genuine) for _ in range(tape.byte() % 3)],
    }
    return {**json.loads(encode_history(KeyHistory(PINNED))), **made}


def _statements(tape: Tape, genuine: set[bytes]) -> list[str]:
    made = [made_directory(tape) for _ in range(tape.byte() % 4)]
    genuine |= {each.message.directory for each in made if each.genuine}
    return [text_of(each.message.SerializeToString()) for each in made]


def _statement(encoded: bytes) -> bytes:
    return SignedKeyDirectory.FromString(encoded).directory


def _text(tape: Tape, members: dict[str, Any]) -> str:
    """The members as JSON, perhaps with an odd value or altered text."""
    if tape.flag():
        members[tape.choice(list(members))] = tape.choice(_ODD)
    text = json.dumps(members)
    if tape.flag():
        place = tape.short() % (len(text) + 1)
        text = text[:place] + tape.chunk().decode("utf-8", "replace") + text[place + tape.byte() :]
    return text


_SHOWN = written(0, 0, 0, 0, 0, 1) + GOOD_DIRECTORY + written(0, 0, 0)
_PROOF = written(0, 0, 0, 0, 0, 0, 1, 2) + GOOD_DIRECTORY + OTHER_DIRECTORY + written(0, 0)
_SUCCESSOR = written(0, 1, 1, 1, 0, 0, 0, 0, 0)

TARGETS = (
    Target("key_history", key_history, (HistoryFormError,), lambda: [_SHOWN, _PROOF, _SUCCESSOR], 1_024),
    Target(
        "contradiction",
        contradiction,
        (DirectoryError, HistoryFormError),
        lambda: [written(0, 2) + GOOD_DIRECTORY + OTHER_DIRECTORY + written(0, 0)],
        1_024,
    ),
)
