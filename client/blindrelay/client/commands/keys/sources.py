"""What `blindrelay keys` compares: this client's history, relays and bridges, files of others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from blindrelay.client.commands.terminal import waiting
from blindrelay.client.connection_config import ConnectionConfig
from blindrelay.client.errors import ConfigurationError
from blindrelay.client.history_store import HistoryStore, open_history
from blindrelay.client.key_ring import KeyRing
from blindrelay.client.relay_connection import RelayConnection
from blindrelay.trust import HistoryFormError, KeyHistory, decode_history, encode_history

OWN: Final = "history"
"""The name of this client's own history on a command line."""

_SCHEME: Final = "blindrelay://"

_SECONDS: Final = 10.0
"""Seconds to reach a relay, and for its response. A person is waiting."""


class Source:
    """One side of a comparison.

    Args:
        name: for messages.
        store: what this side was shown, and where it is kept.
        connection: to fetch again; None for a file.
    """

    def __init__(self, name: str, store: HistoryStore, connection: ConnectionConfig | None = None) -> None:
        self.name = name
        self.store = store
        self.connection = connection
        self.ring = KeyRing(store.history.identity, time.time, store)

    @property
    def history(self) -> KeyHistory:
        return self.store.history

    @property
    def is_empty(self) -> bool:
        directories = self.history.directories
        return not directories.shown and not directories.proofs

    def shows(self, replica_id: bytes) -> bool:
        """Whether the newest fetch had a directory of that replica (16 bytes)."""
        return any(directory.replica_id == replica_id for directory in self.ring.directories)

    def look(self) -> None:
        """Fetches and verifies the current directories. Raises KeyTrustError, RelayError, TimedOutError."""
        if self.connection is not None:
            with waiting(f"asking {self.connection.target}"):
                asyncio.run(_fetch(self.connection, self.ring))


def own_source(connection: ConnectionConfig) -> Source:
    """What this client was shown. Raises ConfigurationError if its history is corrupt."""
    return Source("this client", open_history(connection), connection)


def read_sources(texts: Iterable[str], own: ConnectionConfig | None) -> list[Source]:
    """Files, connection strings, and `history`. Raises ConfigurationError."""
    sources = [_read(text, own) for text in texts]
    names = [source.name for source in sources]
    if len(set(names)) < len(names):
        raise ConfigurationError("the same source is given twice")
    return sources


def save(history: KeyHistory, path: Path) -> None:
    """Writes a file for another client to compare with. Raises ConfigurationError."""
    write_text(path, encode_history(history))


def read_text(path: Path) -> str:
    """Raises ConfigurationError."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigurationError(f"cannot read {path}: {reason}") from None


def write_text(path: Path, text: str) -> None:
    """Raises ConfigurationError."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"cannot write {path}: {error.strerror}") from None


def _read(text: str, own: ConnectionConfig | None) -> Source:
    if text == OWN:
        if own is None:
            raise ConfigurationError("no relay is configured, so this client has no history: give --relay")
        return own_source(own)
    if text.startswith(_SCHEME):
        connection = ConnectionConfig.from_string(text)
        # Not in this client's file: what another relay shows must not affect its requests.
        return Source(connection.target, HistoryStore(connection.identity), connection)
    return Source(text, _file(Path(text)))


def _file(path: Path) -> HistoryStore:
    try:
        history = decode_history(read_text(path))
    except HistoryFormError as error:
        raise ConfigurationError(f"{path}: {error}") from None
    return HistoryStore.holding(history)


async def _fetch(connection: ConnectionConfig, ring: KeyRing) -> None:
    relay = RelayConnection(connection)
    try:
        await relay.connect(_SECONDS)
        await relay.renew(ring, _SECONDS)
    finally:
        await relay.close()
