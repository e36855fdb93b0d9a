"""Databases and schemas of the tests' own PostgreSQL server."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import psycopg

from blindrelay.testbed.postgresql import server_url
from tests.patience import PATIENCE

_NUMBERS = count(1)
_LOCK_MILLISECONDS = int(1_000 * PATIENCE)
_END_ALL = b"""
SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity
WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
"""


class Server:
    """Reached by a socket in its folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._url = server_url(folder)

    def new_place(self) -> str:
        """The URL of an empty schema of its own, in which writers wait longer for each other."""
        name = f"books{next(_NUMBERS)}"
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {name}".encode())
        return f"{self._url}&options=-clock_timeout%3D{_LOCK_MILLISECONDS}%20-csearch_path%3D{name}"

    def new_database(self, name: str) -> str:
        """The URL of an empty database."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return f"postgresql:///{name}?host={self._folder}&user=books"

    def disconnect_all(self) -> None:
        """Ends every other connection, as a restart does, and waits until all have ended."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(_END_ALL)
