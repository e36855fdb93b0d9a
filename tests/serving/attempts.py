"""Tries everything that a compromised relay may try: attempts.py confined|free FOLDER

It prints the name and outcome of each attempt: `done`, `refused` (EACCES, EPERM or ENOSYS), or another error.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import platform
import pty
import signal
import socket
import struct
import sys
import termios
from collections.abc import Callable
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)
ARM = platform.machine() == "aarch64"
REFUSED = (errno.EACCES, errno.EPERM, errno.ENOSYS)
SHARED, REMOVE = 0o1666, 0
FS_IOC_SETFLAGS, FS_IOC_SETVERSION, FS_IOC_FSSETXATTR = 0x40086602, 0x40087602, 0x401C5820
NEW_USER, MSG_FASTOPEN, TCP_MULTIPATH, PTRACE_SEIZE = 0x10000000, 0x20000000, 262, 0x4206

Attempts = dict[str, Callable[[], object]]


def outcome(act: Callable[[], object]) -> str:
    try:
        act()
    except OSError as error:
        number = error.errno or 0
        return "refused" if number in REFUSED else errno.errorcode.get(number, "unknown")
    return "done"


def checked(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), "failed")
    return result


def call(number: int, arm: int, *arguments: object) -> int:
    """A system call by its numbers on x86-64 and ARM64."""
    return checked(int(LIBC.syscall(arm if ARM else number, *arguments)))


class Victim:
    """Another process of the same user, and objects made before the sandbox. It ends when we do."""

    def __init__(self, folder: Path) -> None:
        self.shm = checked(LIBC.shmget(0, 4_096, SHARED))
        self.messages = checked(LIBC.msgget(0, SHARED))
        self.semaphore = checked(LIBC.semget(0, 1, SHARED))
        self.queue = f"/blindrelay-{os.getpid()}".encode()
        checked(LIBC.mq_open(self.queue, os.O_CREAT | os.O_RDWR, 0o600, None))
        self.shm_file = Path(f"/dev/shm/blindrelay-{os.getpid()}")
        self.shm_file.touch()
        self.daemon = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.daemon.bind(str(folder / "daemon"))
        self.abstract = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.abstract.bind(f"\0blindrelay-{os.getpid()}")
        self.abstract.listen()
        self.port = socket.create_server(("127.0.0.1", 0))
        reading, self._ours = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._ours)
            signal.signal(signal.SIGIO, signal.SIG_IGN)
            os.read(reading, 1)
            self._clean_up()
            os._exit(0)

    def _clean_up(self) -> None:
        LIBC.shmctl(self.shm, REMOVE, None)
        LIBC.msgctl(self.messages, REMOVE, None)
        LIBC.semctl(self.semaphore, 0, REMOVE)
        LIBC.mq_unlink(self.queue)
        self.shm_file.unlink()


def on_files(folder: Path, victim: Victim) -> Attempts:
    """Creating, changing and removing files, and their attributes."""
    before, after, elsewhere = folder / "before", folder / "after", folder.parent / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    elsewhere.joinpath("secret").write_text("of another program")
    held = os.open(before, os.O_RDONLY)
    flags = struct.pack("i", 0x40)
    return {
        "write a file": lambda: before.write_text("loot"),
        "append to a file": lambda: before.open("a").close(),
        "empty a file": lambda: os.truncate(before, 0),
        "empty a file while opening it": lambda: os.close(os.open(before, os.O_RDONLY | os.O_TRUNC)),
        "make a file": lambda: after.open("x").close(),
        "make an unnamed file": lambda: os.close(os.open(folder, os.O_TMPFILE | os.O_RDWR)),
        "reopen a descriptor for writing": lambda: os.close(os.open(f"/proc/self/fd/{held}", os.O_WRONLY)),
        "make a folder": (folder / "below").mkdir,
        "make a link": lambda: (folder / "link").symlink_to("x"),
        "make a hard link": lambda: (folder / "hard").hardlink_to(before),
        "make a pipe": lambda: os.mkfifo(folder / "pipe"),
        "set an attribute": lambda: os.setxattr(before, "user.loot", b"loot"),
        "set a mode": lambda: before.chmod(0o640),
        "set an owner": lambda: os.chown(before, os.getuid(), os.getgid()),
        "set times": lambda: os.utime(before, (1, 1)),
        "set inode flags": lambda: fcntl.ioctl(held, FS_IOC_SETFLAGS, flags),
        "set an inode version": lambda: fcntl.ioctl(held, FS_IOC_SETVERSION, flags),
        "set a project": lambda: fcntl.ioctl(held, FS_IOC_FSSETXATTR, bytes(28)),
        "set attributes by file_setattr": lambda: call(
            469, 469, -100, str(before).encode(), ctypes.create_string_buffer(24), 24, 0
        ),
        "lock a file": lambda: fcntl.flock(held, fcntl.LOCK_EX),
        "write to /proc": lambda: Path("/proc/self/comm").write_text("loot"),
        "read another folder": elsewhere.joinpath("secret").read_bytes,
        "read shared memory": victim.shm_file.read_bytes,
        "open a device": lambda: os.close(os.open("/dev/zero", os.O_RDONLY)),
        "rename a file": lambda: before.rename(folder / "renamed"),
        "remove a file": lambda: (folder / "renamed" if (folder / "renamed").exists() else before).unlink(),
    }


def on_terminal() -> Attempts:
    """With a controlling terminal, which a relay in the sandbox never has."""
    _, terminal = pty.openpty()
    os.setsid()
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
    settings = fcntl.ioctl(terminal, termios.TCGETS, bytes(60))
    return {
        "type into a terminal": lambda: fcntl.ioctl(terminal, termios.TIOCSTI, b"x"),
        "change a terminal": lambda: fcntl.ioctl(terminal, termios.TCSETS, settings),
    }


def run(program: Callable[[], object]) -> None:
    """Runs it in a child process."""
    pid = os.fork()
    if pid == 0:
        try:
            program()
        except OSError as error:
            os._exit(error.errno or 0)
    if code := os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
        raise OSError(code, "failed")


def run_from_memory() -> None:
    program = os.memfd_create("program")
    os.write(program, Path("/bin/true").read_bytes())
    run(lambda: os.execve(program, ["true"], {}))


def on_programs() -> Attempts:
    return {
        "start a process": lambda: run(lambda: os._exit(0)),
        "run a program": lambda: run(lambda: os.execv("/bin/true", ["true"])),
        "run a program in place": lambda: checked(LIBC.execve(b"/nowhere", None, None)),
        "run a program from memory": run_from_memory,
        "allow cores again": lambda: checked(LIBC.prctl(4, 1, 0, 0, 0)),
    }


def on_kernel_objects(victim: Victim) -> Attempts:
    """Objects that stay in the kernel after the process, or were there before it."""
    message = struct.pack("l8s", 1, b"loot")
    LIBC.shmat.restype = ctypes.c_ssize_t
    return {
        "make shared memory": lambda: LIBC.shmctl(checked(LIBC.shmget(0, 4_096, SHARED)), REMOVE, None),
        "attach to shared memory": lambda: checked(LIBC.shmat(victim.shm, None, 0)),
        "send to a message queue": lambda: checked(LIBC.msgsnd(victim.messages, message, 8, 0)),
        "raise a semaphore": lambda: checked(LIBC.semop(victim.semaphore, struct.pack("Hhh", 0, 1, 0), 1)),
        "open a POSIX queue": lambda: checked(LIBC.mq_open(victim.queue, os.O_RDWR)),
        "make a file in memory": lambda: os.close(os.memfd_create("loot")),
        "use a keyring": lambda: call(250, 219, 0, -3, 1),
        "make an io_uring": lambda: call(425, 425, 1, ctypes.create_string_buffer(120)),
    }


def on_processes(victim: Victim) -> Attempts:
    """Another process of the same user."""
    pid = victim.pid
    piece = (ctypes.c_char * 8)()
    vector, one, none = struct.pack("PN", ctypes.addressof(piece), 8), ctypes.c_ulong(1), ctypes.c_ulong(0)
    ours, theirs = socket.socketpair()

    def signal_by_descriptor() -> None:
        fcntl.fcntl(ours, fcntl.F_SETOWN, pid)
        fcntl.fcntl(ours, fcntl.F_SETFL, os.O_ASYNC)
        theirs.send(b"x")

    return {
        "signal a process": lambda: os.kill(pid, signal.SIGCONT),
        "signal a thread": lambda: call(234, 131, pid, pid, int(signal.SIGCONT)),
        "queue a signal": lambda: call(129, 138, pid, int(signal.SIGCONT), struct.pack("iii116x", 18, 0, -1)),
        "signal through a descriptor": signal_by_descriptor,
        "open a process": lambda: os.close(os.pidfd_open(pid)),
        "read memory of a process": lambda: call(310, 270, pid, vector, one, vector, one, none),
        "write memory of a process": lambda: call(311, 271, pid, vector, one, vector, one, none),
        "open memory of a process": lambda: Path(f"/proc/{pid}/mem").open("rb").close(),
        "read about a process": Path(f"/proc/{pid}/cmdline").read_bytes,
        "change limits of a process": lambda: call(302, 261, pid, 0, struct.pack("QQ", 0, 0), None),
        "change a priority": lambda: os.setpriority(os.PRIO_PROCESS, pid, 19),
        "change a scheduler": lambda: os.sched_setscheduler(pid, os.SCHED_BATCH, os.sched_param(0)),
        "change an affinity": lambda: os.sched_setaffinity(pid, {0}),
        "change an I/O priority": lambda: call(251, 30, 1, pid, 2 << 13 | 7),
        "trace a process": lambda: checked(LIBC.ptrace(PTRACE_SEIZE, pid, None, None)),
    }


def on_sockets(folder: Path, victim: Victim) -> Attempts:
    """Local daemons, the raw network, and ports that the relay does not need."""
    target = victim.port.getsockname()
    pair = socket.SOCK_DGRAM

    def send_from_pair() -> None:
        one, other = socket.socketpair(socket.AF_UNIX, pair)
        with one, other:
            one.sendto(b"loot", str(folder / "daemon"))

    def tcp(protocol: int = 0) -> socket.socket:
        return socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol)

    return {
        "send to a daemon from a socket pair": send_from_pair,
        "connect to a daemon": lambda: socket.socket(socket.AF_UNIX, pair).connect(str(folder / "daemon")),
        "connect to an abstract socket": lambda: socket.socket(socket.AF_UNIX).connect(
            victim.abstract.getsockname()
        ),
        "open AF_NETLINK": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close(),
        "open AF_PACKET": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close(),
        "open AF_VSOCK": lambda: socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM).close(),
        "open a raw socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1).close(),
        "open a ping socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM, 1).close(),
        "send a datagram": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", target),
        "use multipath TCP": lambda: tcp(TCP_MULTIPATH).connect(target),
        "connect to another port": lambda: tcp().connect(target),
        "connect while sending": lambda: tcp().sendto(b"x", MSG_FASTOPEN, target),
        "choose another port to listen on": lambda: tcp().bind(("127.0.0.1", target[1] ^ 1)),
    }


def of_root() -> Attempts:
    """Actions of root. The sandbox refuses them to root too."""
    return {
        "set the host's name": lambda: socket.sethostname("loot"),
        "set the clock": lambda: checked(LIBC.settimeofday(struct.pack("qq", 1, 0), None)),
        "mount": lambda: checked(LIBC.mount(b"x", b"/", b"tmpfs", 0x1000, None)),
        "change the root": lambda: os.chroot("/"),
        "become another user": lambda: os.setuid(os.getuid()),
        "load a BPF program": lambda: call(321, 280, 0, ctypes.create_string_buffer(128), 128),
        "count performance": lambda: call(298, 241, ctypes.create_string_buffer(128), 0, -1, -1, 0),
        "read the kernel's log": lambda: checked(LIBC.klogctl(10, None, 0)),
        # Last, since the other attempts would fail in the namespace.
        "make a namespace": lambda: checked(LIBC.unshare(NEW_USER)),
    }


def main() -> None:
    mode, folder = sys.argv[1], Path(sys.argv[2])
    (folder / "before").touch()
    victim = Victim(folder)
    free = socket.create_server(("127.0.0.1", 0))
    attempts = {
        "read": (folder / "before").read_bytes,
        "list": lambda: list(folder.iterdir()),
        "listen": lambda: socket.create_server(("127.0.0.1", 0)).close(),
        "connect": lambda: socket.create_connection(free.getsockname()).close(),
        "pair": lambda: socket.socketpair()[0].close(),
        # Serving does not need it. The sandbox cannot prevent it, and ADR 23 says so.
        "listen without choosing": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM).listen(),
        **on_files(folder, victim),
        **on_terminal(),
        **on_programs(),
        **on_kernel_objects(victim),
        **on_processes(victim),
        **on_sockets(folder, victim),
        **of_root(),
    }
    if mode == "confined":
        from blindrelay.serving import Needs, enter_sandbox

        files = (folder / "before", Path(__file__))
        enter_sandbox(Needs(files, bind=(0,), connect=(free.getsockname()[1],)))
    for name, act in attempts.items():
        print(f"{name}: {outcome(act)}", flush=True)


if __name__ == "__main__":
    main()
