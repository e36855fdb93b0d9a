"""A PostgreSQL server of the tests' own: in a temporary folder, as an unprivileged user, without a port."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psycopg

INSTALLED = Path("/usr/lib/postgresql")
"""Where Debian puts the programs of each version."""
QUICK = (
    *("-c", "listen_addresses="),
    # What tests write need not survive a power failure.
    *("-c", "fsync=off", "-c", "full_page_writes=off", "-c", "max_connections=60"),
)

_NUMBERS = count(1)


def programs() -> Path | None:
    """The folder of the newest server's programs, or None if there is no server."""
    found = sorted(INSTALLED.glob("*/bin/pg_ctl"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("pg_ctl")
    return Path(on_path).resolve().parent if on_path else None


class Server:
    """Reached by a socket in its folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._url = f"postgresql:///postgres?host={folder}&user=books"

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
        _run(programs / "initdb", "-D", data, "-U", "books", "-A", "trust", "-E", "UTF8", "-N", folder=folder)
        options = " ".join((*QUICK, "-c", f"unix_socket_directories={folder}"))
        start = ("start", "-w", "-t", "100", "-D", data, "-l", folder / "log", "-o", options)
        _run(programs / "pg_ctl", *start, folder=folder)
        try:
            yield Server(folder)
        finally:
            _run(programs / "pg_ctl", "stop", "-w", "-m", "immediate", "-D", data, folder=folder)
    finally:
        shutil.rmtree(folder)


def _run(program: Path, *arguments: str | Path, folder: Path) -> None:
    """Runs a program in the folder, which it owns: as this user, or in place of root as nobody."""
    user = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    os.chown(folder, user.pw_uid, user.pw_gid)
    root = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
    with (folder / "output").open("wb") as output:
        done = subprocess.run(
            [program, *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            check=False,
            **root,  # type: ignore[call-overload]
        )
    if done.returncode:
        raise RuntimeError((folder / "output").read_text())
