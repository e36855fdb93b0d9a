"""A key history as text: the file that a client keeps, and that clients compare.

JSON, version 1::

    {"format": "blindrelay key history, version 1",
     "identity": "br1…",                 the pinned one
     "successors": ["br1…", …],          accepted after it, in order
     "announcement": {"next_identity_hash": hexadecimal, "since": …, "newest": …} or null,
     "complete_since": …,
     "looked": {"br1…": […], …},         times when directories of each identity were shown
     "shown": [base64, …],               encoded SignedKeyDirectory messages
     "proofs": [[base64, base64], …]}    pairs that contradict each other

Times are Unix seconds. It contains no secret and no name of a relay.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Final

from blindrelay.trust.contradiction import read_statement, signed_directory, verify_proof
from blindrelay.trust.directory import VerifiedDirectory, claimed_identity
from blindrelay.trust.directory_history import (
    LOOK_STEP,
    MAX_LOOKS,
    MAX_PROOFS,
    MAX_SHOWN,
    DirectoryHistory,
)
from blindrelay.trust.errors import DirectoryError, HistoryFormError, IdentityError
from blindrelay.trust.identity import format_identity, parse_identity
from blindrelay.trust.json_form import (
    bytes_of,
    list_of,
    members_of,
    number_of,
    read_json,
    text_of,
    texts_of,
    write_json,
)
from blindrelay.trust.key_history import Announcement, KeyHistory

FORMAT: Final = "blindrelay key history, version 1"

MAX_HISTORY_SIZE: Final = 8_388_608
"""The most characters. A full log has 700 KiB; each of 32 proofs has at most two directories of 64 KiB."""

_MEMBERS: Final = ("identity", "successors", "announcement", "complete_since", "looked", "shown", "proofs")

_HASH_SIZE: Final = 32


def encode_history(history: KeyHistory) -> str:
    """The text for decode_history(). The same history always gives the same text."""
    announced = history.announcement
    content = {
        "format": FORMAT,
        "identity": format_identity(history.identity),
        "successors": [format_identity(each) for each in history.successors],
        "announcement": None
        if announced is None
        else {
            "next_identity_hash": announced.next_identity_hash.hex(),
            "since": announced.since,
            "newest": announced.newest,
        },
        "complete_since": history.directories.complete_since,
        "looked": {
            format_identity(identity): times for identity, times in sorted(history.directories.looked.items())
        },
        "shown": [text_of(each.signed) for each in history.directories.shown],
        "proofs": [[text_of(each) for each in proof] for proof in history.directories.proofs[:MAX_PROOFS]],
    }
    return write_json(content)


def decode_history(text: str) -> KeyHistory:
    """Reads a history and verifies every signature in it, since it may come from a stranger.

    Raises HistoryFormError for anything that encode_history() would not write.
    """
    if len(text) > MAX_HISTORY_SIZE:
        raise HistoryFormError("it is too large for a key history")
    content = members_of(read_json(text), FORMAT, _MEMBERS)
    try:
        identities = [
            parse_identity(each) for each in texts_of([content["identity"], *list_of(content["successors"])])
        ]
        shown = [_statement(each, identities) for each in texts_of(content["shown"])]
        proofs = [_proof(each, identities) for each in list_of(content["proofs"])]
        looked = _looked(content["looked"], identities)
    except (IdentityError, DirectoryError) as error:
        raise HistoryFormError(f"it is damaged or forged: {error}") from None
    numbers = [(each.replica, each.sequence) for each in shown]
    if len(set(identities)) < len(identities) or len(set(numbers)) < len(numbers):
        raise HistoryFormError("it lists an identity or a directory twice")
    if len(shown) > MAX_SHOWN or len(proofs) > MAX_PROOFS:
        raise HistoryFormError("it has too many directories or proofs")
    directories = DirectoryHistory(shown, proofs, number_of(content["complete_since"]), looked)
    return KeyHistory(
        identities[0], tuple(identities[1:]), _announcement(content["announcement"]), directories
    )


def _announcement(value: Any) -> Announcement | None:
    if value is None:
        return None
    if not isinstance(value, dict) or set(value) != {"next_identity_hash", "since", "newest"}:
        raise HistoryFormError("its announcement is malformed")
    digest, since, newest = value["next_identity_hash"], number_of(value["since"]), number_of(value["newest"])
    try:
        announced = Announcement(bytes.fromhex(str(digest)), since, newest)
    except ValueError:
        raise HistoryFormError("the hash in its announcement is malformed") from None
    if len(announced.next_identity_hash) != _HASH_SIZE or announced.next_identity_hash.hex() != digest:
        raise HistoryFormError("the hash in its announcement is malformed")
    if since > newest:
        raise HistoryFormError("its announcement ends before it begins")
    return announced


def _looked(value: Any, identities: list[bytes]) -> dict[bytes, list[int]]:
    if not isinstance(value, dict):
        raise HistoryFormError("its `looked` is malformed")
    looked = {parse_identity(text): [number_of(at) for at in list_of(times)] for text, times in value.items()}
    for identity, times in looked.items():
        growing = all(later >= earlier + LOOK_STEP for earlier, later in pairwise(times))
        if identity not in identities or not growing or not 1 <= len(times) <= MAX_LOOKS:
            raise HistoryFormError(
                "its `looked` has an unknown identity, or times out of order, or none or too many"
            )
    return looked


def _statement(text: str, identities: list[bytes]) -> VerifiedDirectory:
    encoded = bytes_of(text)
    return read_statement(encoded, _one_of(identities, encoded))


def _proof(value: Any, identities: list[bytes]) -> tuple[VerifiedDirectory, VerifiedDirectory]:
    statements = texts_of(value)
    if len(statements) != 2:
        raise HistoryFormError("one of its proofs does not have two statements")
    pair = bytes_of(statements[0]), bytes_of(statements[1])
    return verify_proof(pair, _one_of(identities, pair[0]))


def _one_of(identities: list[bytes], encoded: bytes) -> bytes:
    """The identity to verify a statement with: the claimed one if known, else the pinned one, which fails."""
    claimed = claimed_identity(signed_directory(encoded))
    return claimed if claimed in identities else identities[0]
