"""A PostgreSQL server of a testbed's own: in one folder, as an unprivileged user, without a port.

    python -m blindrelay.testbed.postgresql FOLDER

When it serves it prints {"listening": FOLDER, "url": "postgresql://…"}. SIGTERM ends it.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from asyncio.subprocess import Process
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psycopg

from blindrelay.testbed.errors import UnavailableError
from blindrelay.testbed.foreign_program import ForeignProgram, run_as_part

INSTALLED: Final = Path("/usr/lib/postgresql")
"""Where Debian puts the programs of each version."""

DURABLE: Final = ("-c", "listen_addresses=", "-c", "max_connections=60")
"""Options of a server that commits to the disk."""

QUICK: Final = (*DURABLE, "-c", "fsync=off", "-c", "full_page_writes=off")
"""The same for a server whose data need not survive a power failure."""


def programs() -> Path | None:
    """The folder of the newest server's programs, or None if there is no server."""
    found = sorted(INSTALLED.glob("*/bin/pg_ctl"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("pg_ctl")
    return Path(on_path).resolve().parent if on_path else None


def require_programs() -> Path:
    """The same. Raises UnavailableError."""
    if (found := programs()) is None:
        raise UnavailableError("PostgreSQL is not installed: install postgresql 15 or later")
    return found


def make_cluster(programs: Path, folder: Path) -> None:
    """Makes the folder "data" of a server in `folder`. Raises RuntimeError with what initdb said."""
    data = folder / "data"
    run_program(
        programs / "initdb", "-D", data, "-U", "books", "-A", "trust", "-E", "UTF8", "-N", folder=folder
    )


@contextmanager
def running_server(programs: Path, options: Sequence[str] = QUICK) -> Iterator[Path]:
    """Runs a new server while the block does. Gives its folder, for server_url().

    Raises RuntimeError with what a program of the server said.
    """
    folder = Path(tempfile.mkdtemp(prefix="books"))
    data = folder / "data"
    try:
        make_cluster(programs, folder)
        given = " ".join((*options, "-c", f"unix_socket_directories={folder}"))
        start = ("start", "-w", "-t", "100", "-D", data, "-l", folder / "log", "-o", given)
        run_program(programs / "pg_ctl", *start, folder=folder)
        try:
            yield folder
        finally:
            run_program(programs / "pg_ctl", "stop", "-w", "-m", "immediate", "-D", data, folder=folder)
    finally:
        shutil.rmtree(folder)


def run_program(program: Path, *arguments: str | Path, folder: Path) -> None:
    """Runs a program in the folder, as its owner. Raises RuntimeError with what it said."""
    owner = owner_of(folder)
    options: dict[str, Any] = {}
    if owner is not None:
        options = {"user": owner[0], "group": owner[1], "extra_groups": []}
    with (folder / "output").open("wb") as output:
        done = subprocess.run(
            [program, *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            check=False,
            **options,
        )
    if done.returncode:
        raise RuntimeError((folder / "output").read_text())


def owner_of(folder: Path) -> tuple[int, int] | None:
    """Whose the folder is: nobody's in place of root's, as numbers of user and group. None: this user's."""
    if os.geteuid() != 0:
        return None
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    return nobody.pw_uid, nobody.pw_gid


def server_url(folder: Path) -> str:
    """Where the server of a folder is reached."""
    return f"postgresql:///postgres?host={folder}&user=books"


def main() -> int:
    """Serves until SIGTERM."""
    found, folder = require_programs(), Path(sys.argv[1])
    if not (folder / "data").exists():
        make_cluster(found, folder)
    announcement = {"listening": str(folder), "url": server_url(folder)}
    return asyncio.run(run_as_part(_server(found, folder), announcement))


def _server(programs: Path, folder: Path) -> ForeignProgram:
    async def is_ready(process: Process) -> bool:
        try:
            serving = (folder / "data" / "postmaster.pid").read_text().partition("\n")[0]
            psycopg.connect(server_url(folder), connect_timeout=2).close()
        except (OSError, psycopg.Error):
            return False
        return serving == str(process.pid)

    async def stop(process: Process) -> None:
        process.send_signal(signal.SIGINT)  # ends its clients' connections

    options = (*QUICK, "-c", f"unix_socket_directories={folder}")
    command = (str(programs / "postgres"), "-D", str(folder / "data"), *options)
    return ForeignProgram(command, is_ready, stop, signal.SIGQUIT, folder, owner_of(folder))


if __name__ == "__main__":
    sys.exit(main())
