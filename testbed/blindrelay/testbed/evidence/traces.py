"""What else a process could hold or leave: files, descriptors, its environment, swap, a core."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def environment_of(pid: int) -> bytes:
    """Its environment and its command line."""
    process = Path("/proc", str(pid))
    return (process / "environ").read_bytes() + b"\0" + (process / "cmdline").read_bytes()


def written_files_of(pid: int) -> list[str]:
    """The regular files that it has open for writing."""
    found = []
    for descriptor in Path("/proc", str(pid), "fd").iterdir():
        try:
            status, target = descriptor.stat(), str(descriptor.readlink())
            flags = (Path("/proc", str(pid), "fdinfo") / descriptor.name).read_text()
        except OSError:
            continue  # closed meanwhile
        mode = int(flags.split("flags:")[1].split()[0], 8) & os.O_ACCMODE
        if stat.S_ISREG(status.st_mode) and mode != os.O_RDONLY:
            found.append(target)
    return sorted(found)


def open_files_of(pid: int) -> bytes:
    """The content of every regular file that it has open, beginning with its name."""
    content = bytearray()
    for descriptor in Path("/proc", str(pid), "fd").iterdir():
        try:
            if stat.S_ISREG(descriptor.stat().st_mode):
                content += str(descriptor.readlink()).encode() + b"\0" + descriptor.read_bytes() + b"\0"
        except OSError:
            continue
    return bytes(content)


def files_below(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Every file of a folder with its content."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield path, path.read_bytes()


def local_ports_of(pid: int) -> set[int]:
    """The local ports of its TCP connections, IPv4 and IPv6 (proc(5), net/tcp)."""
    sockets = set()
    for descriptor in Path("/proc", str(pid), "fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            sockets.add(str(descriptor.readlink()).removeprefix("socket:[").removesuffix("]"))
    rows = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in Path("/proc", str(pid), "net", name).read_text().splitlines()[1:]
    ]
    return {int(row[1].rpartition(":")[2], 16) for row in rows if row[9] in sockets}


def children_of(pid: int) -> list[int]:
    """The processes that it has started and that run (proc(5), children)."""
    return sorted(int(child) for text in _of_threads(pid, "children") for child in text.split())


def swapped_of(pid: int) -> int:
    """Bytes of its memory that are on a swap device."""
    for line in Path("/proc", str(pid), "status").read_text().splitlines():
        if line.startswith("VmSwap:"):
            return int(line.split()[1]) * 1024
    return 0


def is_confined(pid: int) -> bool:
    """Whether all its threads are under a filter of system calls, the last step into the sandbox (proc(5)).

    The filter was inherited from the thread that entered it, so that no thread was there before.
    """
    threads = list(_of_threads(pid, "status"))
    return bool(threads) and all("NoNewPrivs:\t1" in each and "Seccomp:\t2" in each for each in threads)


def bytes_written_of(pid: int) -> int:
    """Bytes that it has sent towards any storage since it began (proc(5), io: write_bytes)."""
    for line in Path("/proc", str(pid), "io").read_text().splitlines():
        if line.startswith("write_bytes:"):
            return int(line.split()[1])
    return 0


def _of_threads(pid: int, name: str) -> Iterator[str]:
    """The file of this name in /proc for each of its threads (proc(5), task). None if it has ended."""
    for file in Path("/proc", str(pid), "task").glob(f"*/{name}"):
        with suppress(FileNotFoundError, ProcessLookupError):  # the thread has ended meanwhile
            yield file.read_text()
