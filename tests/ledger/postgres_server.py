"""A PostgreSQL server of the tests' own: in a temporary folder, as an unprivileged user, without a port."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psycopg

from blindrelay.testbed.postgresql import QUICK, make_cluster, run_program, server_url

_NUMBERS = count(1)


class Server:
    """Reached by a socket in its folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._url = server_url(folder)

    def new_place(self) -> str:
        """The URL of an empty schema of its own."""
        name = f"books{next(_NUMBERS)}"
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {name}".encode())
        return f"{self._url}&options=-csearch_path%3D{name}"

    def new_database(self, name: str) -> str:
        """The URL of an empty database."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return f"postgresql:///{name}?host={self._folder}&user=books"

    def disconnect_all(self) -> None:
        """Ends every other connection, as a restart does."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(
                b"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            )


@contextmanager
def running_server(programs: Path) -> Iterator[Server]:
    """Runs a server while the block does."""
    folder = Path(tempfile.mkdtemp(prefix="books"))
    data = folder / "data"
    try:
        make_cluster(programs, folder)
        options = " ".join((*QUICK, "-c", f"unix_socket_directories={folder}"))
        start = ("start", "-w", "-t", "100", "-D", data, "-l", folder / "log", "-o", options)
        run_program(programs / "pg_ctl", *start, folder=folder)
        try:
            yield Server(folder)
        finally:
            run_program(programs / "pg_ctl", "stop", "-w", "-m", "immediate", "-D", data, folder=folder)
    finally:
        shutil.rmtree(folder)
