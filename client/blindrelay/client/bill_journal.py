"""The file in which a client keeps its bills: which exchanges it sent, and what each cost.

It is a JSON text sequence (RFC 7464). Each record is written at once, so that several processes may share the
file, and a reader passes over a record that a crash has cut. A full file replaces the previous one.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from google.protobuf.message import DecodeError

from blindrelay.client.connection_config import ConnectionConfig
from blindrelay.client.history_store import STATE_VARIABLE, state_folder
from blindrelay.client.state_file import NO_FOLLOW, locked
from blindrelay.trust import SignedDelegation
from blindrelay.v1.envelope_pb2 import Envelope
from blindrelay.v1.private_file import make_folder
from blindrelay.v1.receipts_pb2 import SignedReceipt

MAX_FILE_SIZE: Final = 33_554_432
"""Bytes of each of the two files: about 25,000 exchanges. Together they keep up to twice as many."""

_START: Final = b"\x1e"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class KeptReceipt:
    """A receipt and what proves it.

    Attributes:
        signed: the receipt.
        delegation: of the key that signed it; None if it is not known.
        statement: exact Statement bytes; empty for a receipt that only the relay had.
        coin: the exchange's rounding coin, 8 bytes, with a statement.
    """

    signed: SignedReceipt
    delegation: SignedDelegation | None = None
    statement: bytes = b""
    coin: bytes = b""


@dataclass
class KeptExchange:
    """One exchange that this client sent.

    Attributes:
        envelope: exact Envelope bytes.
        relay: the relay's address, "host:port".
        key: names the access token: the first 8 hexadecimal digits of its SHA-256; "" for none.
        price_table_hash: of the price table that the client accepted, 32 bytes.
        refusal: the outer status that came in place of a response; "" if there was none.
        receipts: all that came for it; a bridge signs one.
    """

    envelope: bytes
    relay: str
    key: str
    price_table_hash: bytes = b""
    refusal: str = ""
    receipts: list[KeptReceipt] = field(default_factory=list)


class BillJournal:
    """The bills of the clients of one connection.

    Args:
        path: the file; None if the user has no home directory, and nothing is kept.
        relay: the relay's address, "host:port".
        token: the access token, of which only a short hash is kept.
    """

    def __init__(self, path: Path | None, relay: str, token: str | None = None) -> None:
        self._path = path
        self._relay = relay
        self._key = "" if token is None else key_name(token)

    def began(self, envelope: bytes, price_table_hash: bytes) -> None:
        """Notes an exchange (exact Envelope bytes) that is about to be sent, and the prices it accepts."""
        where = {"relay": self._relay, "key": self._key}
        self._append({"envelope": _text(envelope), "prices": _text(price_table_hash), **where})

    def refused(self, envelope_hash: bytes, status: str) -> None:
        """Notes an outer status that came in place of a response."""
        self._append({"exchange": _text(envelope_hash), "refused": status})

    def ended(self, envelope_hash: bytes, kept: KeptReceipt) -> None:
        """Notes a receipt."""
        self._append({"exchange": _text(envelope_hash), **_receipt_record(kept)})

    def _append(self, record: Mapping[str, Any]) -> None:
        if self._path is None:
            _warn(f"no home directory: bills are not kept; set {STATE_VARIABLE} or use bills=off")
            return
        try:
            if _append(self._path, record) > MAX_FILE_SIZE:
                _turn_over(self._path)
        except OSError as error:
            _warn(f"bills cannot be kept in {self._path} ({error.strerror or error})")


def open_journal(config: ConnectionConfig) -> BillJournal | None:
    """The journal of a connection's clients; None with bills=off."""
    return BillJournal(journal_file(), config.target, config.token) if config.bills else None


def journal_file(environ: Mapping[str, str] = os.environ) -> Path | None:
    """``bills/journal`` in the state folder; None without one."""
    folder = state_folder(environ)
    return None if folder is None else folder / "bills" / "journal"


def read_journal(path: Path) -> dict[bytes, KeptExchange]:
    """The exchanges by envelope hash (32 bytes), oldest first. Empty without a file. Raises OSError."""
    exchanges: dict[bytes, KeptExchange] = {}
    for record in (*_records(_older(path)), *_records(path)):
        try:
            _take(record, exchanges)
        except (KeyError, TypeError, ValueError, DecodeError):
            continue  # a later version's, or damaged
    return exchanges


def key_name(token: str) -> str:
    """The first 8 hexadecimal digits of a token's SHA-256."""
    return hashlib.sha256(token.encode()).hexdigest()[:8]


def _append(path: Path, record: Mapping[str, Any]) -> int:
    """Returns the size of the file, in bytes."""
    text = _START + json.dumps(record, separators=(",", ":")).encode() + b"\n"
    try:
        descriptor = _open(path)
    except FileNotFoundError:
        make_folder(path.parent)
        descriptor = _open(path)
    try:
        os.write(descriptor, text)
        return os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | NO_FOLLOW, 0o600)


def _turn_over(path: Path) -> None:
    """Starts a new file. The full one replaces the older one."""
    with locked(path.with_name(path.name + ".lock")):
        if path.stat().st_size > MAX_FILE_SIZE:  # no other process has done it
            path.replace(_older(path))


def _older(path: Path) -> Path:
    return path.with_name(path.name + ".old")


def _records(path: Path) -> Iterator[Any]:
    try:
        encoded = path.read_bytes()
    except FileNotFoundError:
        return
    for text in encoded.split(_START):
        try:
            yield json.loads(text)
        except ValueError:
            continue  # cut by a crash, or nothing before the first


def _take(record: Any, exchanges: dict[bytes, KeptExchange]) -> None:
    """Raises KeyError, TypeError, ValueError, DecodeError for a record that is not one of these."""
    if "envelope" in record:
        envelope, prices = (b64decode(record[name], validate=True) for name in ("envelope", "prices"))
        Envelope.FromString(envelope)
        exchange = KeptExchange(envelope, str(record["relay"]), str(record["key"]), prices)
        exchanges.setdefault(hashlib.sha256(envelope).digest(), exchange)
        return
    known = exchanges[b64decode(record["exchange"], validate=True)]
    if "refused" in record:
        known.refusal = str(record["refused"])
        return
    kept = _kept_receipt(record)
    if all(kept.signed != each.signed for each in known.receipts):
        known.receipts.append(kept)


def _receipt_record(kept: KeptReceipt) -> dict[str, Any]:
    record = {"receipt": _text(kept.signed.receipt), "signature": _text(kept.signed.signature)}
    if kept.delegation is not None:
        record["delegation"] = _text(kept.delegation.delegation)
        record["delegation_signature"] = _text(kept.delegation.signature)
    if kept.statement:
        record |= {"statement": _text(kept.statement), "coin": _text(kept.coin)}
    return record


def _kept_receipt(record: Mapping[str, str]) -> KeptReceipt:
    field_of = {name: b64decode(record.get(name, ""), validate=True) for name in _RECEIPT_FIELDS}
    delegation = SignedDelegation(field_of["delegation"], field_of["delegation_signature"])
    return KeptReceipt(
        SignedReceipt(receipt=field_of["receipt"], signature=field_of["signature"]),
        delegation if delegation.delegation else None,
        field_of["statement"],
        field_of["coin"],
    )


_RECEIPT_FIELDS: Final = ("receipt", "signature", "delegation", "delegation_signature", "statement", "coin")

_warned_of: set[str] = set()
"""A process warns of each problem once."""


def _warn(text: str) -> None:
    if text not in _warned_of:
        _warned_of.add(text)
        _log.warning("%s", text)


def _text(data: bytes) -> str:
    return b64encode(data).decode()
