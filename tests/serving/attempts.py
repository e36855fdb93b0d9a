"""What a relay that was taken over may try: a program that tries it, in the sandbox or out of it.

    python attempts.py confined|free FOLDER

It prints a line for each attempt, its name and what came of it:
`done`, `refused` (EACCES or EPERM), `unsupported` (EAFNOSUPPORT), or the name of another error.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)
KEYCTL = {"x86_64": 250, "aarch64": 219}.get(platform.machine(), -1)
IO_URING_SETUP = 425
GET_KEYRING, SESSION_KEYRING = 0, -3
REMOVE = 0
SHARED = 0o1600


def attempt(name: str, act: Callable[[], object]) -> None:
    try:
        act()
        outcome = "done"
    except PermissionError:
        outcome = "refused"
    except OSError as error:
        unsupported = error.errno == errno.EAFNOSUPPORT
        outcome = "unsupported" if unsupported else errno.errorcode.get(error.errno or 0, "unknown")
    print(name, outcome, flush=True)


def checked(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), "failed")
    return result


def files(folder: Path) -> None:
    """Everything that makes, changes or removes a file, and what is kept beside its contents."""
    before, after = folder / "before", folder / "after"
    attempt("write", lambda: before.write_text("loot"))
    attempt("append", lambda: before.open("a").close())
    attempt("make", lambda: after.open("x").close())
    attempt("folder", (folder / "below").mkdir)
    attempt("link", lambda: (folder / "link").symlink_to("x"))
    attempt("hard link", lambda: (folder / "hard").hardlink_to(before))
    attempt("attribute", lambda: os.setxattr(before, "user.loot", b"loot"))
    attempt("mode", lambda: before.chmod(0o640))
    attempt("owner", lambda: os.chown(before, os.getuid(), os.getgid()))
    attempt("times", lambda: os.utime(before, (1, 1)))
    attempt("rename", lambda: before.rename(folder / "renamed"))
    attempt("remove", lambda: (folder / "renamed" if (folder / "renamed").exists() else before).unlink())
    attempt("shm", lambda: Path(f"/dev/shm/blindrelay-{os.getpid()}").touch())
    attempt("shm removed", lambda: Path(f"/dev/shm/blindrelay-{os.getpid()}").unlink())
    thread = threading.Thread(target=lambda: attempt("thread", lambda: after.write_text("loot")))
    thread.start()
    thread.join()


def run_from_memory() -> None:
    """A program that is in no file."""
    program = os.memfd_create("program")
    os.write(program, Path("/bin/true").read_bytes())
    pid = os.fork()
    if pid == 0:
        try:
            os.execve(program, ["true"], {})
        except OSError as error:
            os._exit(error.errno or 0)
    if code := os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
        raise OSError(code, "failed")


def shared_memory() -> None:
    """Memory that is there until the machine is switched off."""
    LIBC.shmctl(checked(LIBC.shmget(0, 4_096, SHARED)), REMOVE, None)


def open_socket(family: int) -> None:
    socket.socket(family, socket.SOCK_DGRAM).close()


def beyond(parent: int) -> None:
    """Programs, what the kernel keeps, other processes, other kinds of sockets."""
    attempt("run", lambda: subprocess.run(["/bin/true"], check=True))
    attempt("run from memory", run_from_memory)
    attempt("shared memory", shared_memory)
    attempt("queue", lambda: LIBC.msgctl(checked(LIBC.msgget(0, SHARED)), REMOVE, None))
    attempt("semaphore", lambda: LIBC.semctl(checked(LIBC.semget(0, 1, SHARED)), 0, REMOVE))
    attempt("keyring", lambda: checked(LIBC.syscall(KEYCTL, GET_KEYRING, SESSION_KEYRING, 1)))
    attempt("ring", lambda: checked(LIBC.syscall(IO_URING_SETUP, 1, None)))
    attempt("memory of another", lambda: Path(f"/proc/{parent}/mem").open("rb").close())
    for name in ("AF_UNIX", "AF_NETLINK", "AF_PACKET"):
        attempt(name, partial(open_socket, getattr(socket, name)))


def main() -> None:
    confined, folder = sys.argv[1] == "confined", Path(sys.argv[2])
    (folder / "before").touch()
    if confined:
        from blindrelay.serving import forbid_writing_and_programs

        forbid_writing_and_programs()
    files(folder)
    beyond(os.getppid())
    attempt("read", Path(__file__).read_bytes)
    attempt("listen", lambda: socket.create_server(("127.0.0.1", 0)).close())
    attempt("look up", lambda: socket.getaddrinfo("localhost", 80))
    attempt("pair", socket.socketpair)


if __name__ == "__main__":
    main()
