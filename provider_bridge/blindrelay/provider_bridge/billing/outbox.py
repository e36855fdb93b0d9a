"""Receipts that wait for the ledger, in a file that survives the process.

It holds envelope hashes, units and signatures, and no content. One process has it at a time.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from blindrelay.serving import ConfigError, StartError
from blindrelay.trust import SignedDelegation
from blindrelay.v1.limits import KEY_ID_SIZE, MAX_WATERMARK_KEYS
from blindrelay.v1.receipts_pb2 import SignedReceipt

CAPACITY: Final = 1_000_000
"""Receipts of one peer that wait, about 400 MB: a day of 12 exchanges a second. More are refused."""

_SCHEMA_VERSION: Final = 1
_SCHEMA: Final = """
    CREATE TABLE secret (blind BLOB NOT NULL);
    CREATE TABLE peer (peer BLOB PRIMARY KEY, sequence INTEGER NOT NULL, waiting INTEGER NOT NULL)
        WITHOUT ROWID;
    CREATE TABLE delegation (
        id INTEGER PRIMARY KEY, delegation BLOB NOT NULL UNIQUE, signature BLOB NOT NULL
    );
    CREATE TABLE receipt (
        peer BLOB, sequence INTEGER, receipt BLOB NOT NULL, signature BLOB NOT NULL,
        delegation INTEGER NOT NULL, PRIMARY KEY (peer, sequence)
    ) WITHOUT ROWID;
    CREATE TABLE replica (
        replica_id BLOB PRIMARY KEY, started_at INTEGER NOT NULL, key_ids BLOB NOT NULL, ended_at INTEGER
    ) WITHOUT ROWID;
    CREATE TABLE total (
        replica_id BLOB, peer BLOB, count INTEGER NOT NULL, units INTEGER NOT NULL,
        PRIMARY KEY (replica_id, peer)
    ) WITHOUT ROWID;
    CREATE TABLE price_table (hash BLOB PRIMARY KEY, encoded BLOB NOT NULL, replaced_at INTEGER)
        WITHOUT ROWID;
"""

_KEPT_SECONDS: Final = 8 * 86_400
"""Seconds to keep a replica that has ended: as long as a ledger waits for late receipts, and a day more."""


class OutboxError(StartError):
    """The outbox cannot be written: the disk is full, or it failed. A bridge does not start with it."""


@dataclass(frozen=True)
class Waiting:
    """A receipt that is not acknowledged, with the delegation that allowed its signature."""

    sequence: int
    receipt: SignedReceipt
    delegation: SignedDelegation


@dataclass(frozen=True)
class Replica:
    """A process that had this outbox, and its receipts for one peer.

    Attributes:
        key_ids: the newest 64 at most, newest last.
        count, units: receipts, and their sum.
        ended: whether another process has the outbox now.
    """

    replica_id: bytes
    started_at: int
    key_ids: tuple[bytes, ...]
    count: int
    units: int
    ended: bool


class Outbox:
    """The file. Used from one thread; sync() may run in another.

    Attributes:
        blind: 32 random bytes, drawn with the file: peers have the same names after a restart.
    """

    def __init__(self, path: Path) -> None:
        """Opens the file, or makes it (0600). Raises ConfigError."""
        self._path = path
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            self._db = sqlite3.connect(path, isolation_level=None, timeout=1.0, check_same_thread=False)
            self.blind = self._opened()
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(f"{path}: the outbox cannot be used: {_why(error)}") from None
        self._unsynced = False

    def begin_replica(self, replica_id: bytes, started_at: int, now: int) -> None:
        """Notes that this process has the outbox now, and that all before it have ended."""
        with self._transaction():
            self._db.execute("UPDATE replica SET ended_at = ? WHERE ended_at IS NULL", (now,))
            self._db.execute(
                "DELETE FROM total WHERE replica_id IN (SELECT replica_id FROM replica WHERE ended_at < ?)",
                (now - _KEPT_SECONDS,),
            )
            self._db.execute("DELETE FROM replica WHERE ended_at < ?", (now - _KEPT_SECONDS,))
            self._db.execute(
                "DELETE FROM delegation WHERE id NOT IN (SELECT DISTINCT delegation FROM receipt)"
            )
            self._db.execute("INSERT INTO replica VALUES (?, ?, x'', NULL)", (replica_id, started_at))

    def note_keys(self, replica_id: bytes, key_ids: Iterable[bytes]) -> None:
        """Notes the keys that the replica holds, so that a later process can close them."""
        with self._transaction():
            known = [key_id for key_id in self._keys_of(replica_id) if key_id not in set(key_ids)]
            kept = b"".join([*known, *key_ids][-MAX_WATERMARK_KEYS:])
            self._db.execute("UPDATE replica SET key_ids = ? WHERE replica_id = ?", (kept, replica_id))

    def add(
        self, peer: bytes, replica_id: bytes, receipt: SignedReceipt, units: int, delegation: SignedDelegation
    ) -> None:
        """Keeps a receipt until it is acknowledged. Raises OutboxError."""
        with self._transaction():
            self._db.execute(
                "INSERT INTO total VALUES (?, ?, 1, ?) ON CONFLICT DO UPDATE "
                "SET count = count + 1, units = units + excluded.units",
                (replica_id, peer, units),
            )
            (sequence,) = self._db.execute(
                "INSERT INTO peer VALUES (?, 1, 1) ON CONFLICT DO UPDATE "
                "SET sequence = sequence + 1, waiting = waiting + 1 RETURNING sequence",
                (peer,),
            ).fetchone()
            self._db.execute(
                "INSERT INTO receipt VALUES (?, ?, ?, ?, ?)",
                (peer, sequence, receipt.receipt, receipt.signature, self._delegation_id(delegation)),
            )
        self._unsynced = True

    def waiting(self, peer: bytes, after: int, limit: int) -> list[Waiting]:
        """The next receipts of a peer that are not acknowledged, in order."""
        rows = self._db.execute(
            "SELECT sequence, receipt, receipt.signature, delegation.delegation, delegation.signature "
            "FROM receipt JOIN delegation ON delegation.id = receipt.delegation "
            "WHERE peer = ? AND sequence > ? ORDER BY sequence LIMIT ?",
            (peer, after, limit),
        )
        return [
            Waiting(
                sequence, SignedReceipt(receipt=receipt, signature=signature), SignedDelegation(*delegated)
            )
            for sequence, receipt, signature, *delegated in rows
        ]

    def acknowledge(self, peer: bytes, sequence: int) -> None:
        """Forgets a peer's receipts up to this number. Raises OutboxError."""
        with self._transaction():
            gone = self._db.execute(
                "DELETE FROM receipt WHERE peer = ? AND sequence <= ?", (peer, sequence)
            ).rowcount
            self._db.execute("UPDATE peer SET waiting = waiting - ? WHERE peer = ?", (gone, peer))

    def has_room(self, peer: bytes) -> bool:
        """Whether a receipt of the peer would be kept."""
        row = self._db.execute("SELECT waiting FROM peer WHERE peer = ?", (peer,)).fetchone()
        return row is None or row[0] < CAPACITY

    @property
    def count(self) -> int:
        """Receipts that wait, of all peers."""
        (count,) = self._db.execute("SELECT COALESCE(SUM(waiting), 0) FROM peer").fetchone()
        return int(count)

    def replica(self, replica_id: bytes, peer: bytes) -> Replica:
        """The process that has the outbox, as one peer sees it."""
        return next(each for each in self._replicas(peer) if each.replica_id == replica_id)

    def ended(self, peer: bytes) -> list[Replica]:
        """The processes that have ended, oldest first."""
        return [each for each in self._replicas(peer) if each.ended]

    def price_tables(self) -> dict[bytes, float | None]:
        """The tables that were in force, in exact bytes, and when each was replaced (Unix seconds)."""
        return dict(self._db.execute("SELECT encoded, replaced_at FROM price_table"))

    def note_price_table(self, digest: bytes, encoded: bytes, now: int, forgotten_before: int) -> None:
        """Notes which table is in force from now on."""
        with self._transaction():
            self._db.execute(
                "UPDATE price_table SET replaced_at = ? WHERE replaced_at IS NULL AND hash != ?",
                (now, digest),
            )
            self._db.execute("DELETE FROM price_table WHERE replaced_at < ?", (forgotten_before,))
            self._db.execute(
                "INSERT INTO price_table VALUES (?, ?, NULL) ON CONFLICT DO UPDATE SET replaced_at = NULL",
                (digest, encoded),
            )

    def sync(self) -> None:
        """Writes to the disk what was added, against a loss of power; kill -9 loses nothing anyway."""
        if not self._unsynced:
            return
        self._unsynced = False
        with Path(f"{self._path}-wal").open("rb") as log:
            os.fsync(log.fileno())

    def close(self) -> None:
        """Closes the file."""
        self._db.close()

    def _opened(self) -> bytes:
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.execute("BEGIN IMMEDIATE")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version == 0:
            for statement in _SCHEMA.split(";")[:-1]:
                self._db.execute(statement)
            self._db.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
            self._db.execute("INSERT INTO secret VALUES (?)", (os.urandom(32),))
        elif version != _SCHEMA_VERSION:
            raise sqlite3.DatabaseError(f"it has version {version}, and this bridge knows {_SCHEMA_VERSION}")
        (blind,) = self._db.execute("SELECT blind FROM secret").fetchone()
        self._db.execute("COMMIT")
        return bytes(blind)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise OutboxError(f"{self._path}: the outbox cannot be written: {_why(error)}") from None

    def _delegation_id(self, delegation: SignedDelegation) -> int:
        (number,) = self._db.execute(
            "INSERT INTO delegation (delegation, signature) VALUES (?, ?) "
            "ON CONFLICT DO UPDATE SET signature = excluded.signature RETURNING id",
            (delegation.delegation, delegation.signature),
        ).fetchone()
        return int(number)

    def _keys_of(self, replica_id: bytes) -> tuple[bytes, ...]:
        (key_ids,) = self._db.execute(
            "SELECT key_ids FROM replica WHERE replica_id = ?", (replica_id,)
        ).fetchone()
        return _split(key_ids)

    def _replicas(self, peer: bytes) -> Iterator[Replica]:
        """Oldest first."""
        rows = self._db.execute(
            "SELECT replica.replica_id, started_at, key_ids, COALESCE(count, 0), COALESCE(units, 0), "
            "ended_at IS NOT NULL FROM replica "
            "LEFT JOIN total ON total.replica_id = replica.replica_id AND peer = ? ORDER BY started_at",
            (peer,),
        ).fetchall()
        for replica_id, started_at, key_ids, count, units, ended in rows:
            yield Replica(replica_id, started_at, _split(key_ids), count, units, bool(ended))


def _split(key_ids: bytes) -> tuple[bytes, ...]:
    return tuple(key_ids[at : at + KEY_ID_SIZE] for at in range(0, len(key_ids), KEY_ID_SIZE))


def _why(error: OSError | sqlite3.Error) -> str:
    if isinstance(error, OSError):
        return error.strerror or "it cannot be opened"
    if "locked" in str(error):
        return "another process has it: each bridge process needs an outbox of its own"
    return str(error)
