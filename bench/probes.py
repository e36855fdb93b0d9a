"""What the kernel counts for a process: CPU time, memory, bytes on its connections (Linux).

CPU time comes from the process's own clock, in nanoseconds, and includes threads that have ended. The file
/proc/PID/stat counts in ticks of 10 ms, which is too coarse for runs of seconds.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PROCESS_CLOCK: Final = 2
"""CPUCLOCK_SCHED, as clock_getcpuclockid(3) makes it of a process id."""

_TCP_INFO_SIZE: Final = 256
_BYTES_ACKED_AND_RECEIVED: Final = struct.Struct("@QQ")
_BYTES_ACKED_OFFSET: Final = 120
"""Of tcpi_bytes_acked in the kernel's struct tcp_info; tcpi_bytes_received follows."""


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and its living descendants so far. Raises OSError if it has ended."""
    return sum(time.clock_gettime((~each << 3) | _PROCESS_CLOCK) for each in family(pid))


def family(pid: int) -> list[int]:
    """The process and its living descendants: a relay with workers is one relay."""
    children: list[int] = []
    with suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            children += map(int, (thread / "children").read_text().split())
    return [pid, *(each for child in children for each in family(child))]


@dataclass(frozen=True)
class Memory:
    """Of a process and its descendants, in bytes.

    Attributes:
        pss: proportional set size now: pages that are shared count by share.
        peak: sum of the peaks of the resident sets since reset_peak().
    """

    pss: int
    peak: int


def memory(pid: int) -> Memory:
    """Raises OSError if the process has ended."""
    processes = family(pid)
    return Memory(
        pss=sum(_kibibytes(each, "smaps_rollup", "Pss:") for each in processes),
        peak=sum(_kibibytes(each, "status", "VmHWM:") for each in processes),
    )


def reset_peak(pid: int) -> None:
    """Resets the peak of the resident set to what is resident now."""
    for each in family(pid):
        Path(f"/proc/{each}/clear_refs").write_text("5")


def pin(pid: int, cores: Iterable[int]) -> None:
    """Binds all threads of a process to the given cores; those it starts later inherit that."""
    for each in family(pid):
        for thread in Path(f"/proc/{each}/task").iterdir():
            with suppress(ProcessLookupError):
                os.sched_setaffinity(int(thread.name), set(cores))


def wire_bytes(port: int) -> tuple[int, int]:
    """Bytes sent and received so far on this process's open TCP connections to a port of any host.

    What the peer's kernel has confirmed: everything that TCP carried, HTTP/2's frames and headers included.
    """
    sent = received = 0
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            if not str(entry.readlink()).startswith("socket:"):
                continue
            with socket.socket(fileno=os.dup(int(entry.name))) as connection:
                if connection.family not in (socket.AF_INET, socket.AF_INET6):
                    continue
                if connection.getpeername()[1] != port:
                    continue
                info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_SIZE)
                up, down = _BYTES_ACKED_AND_RECEIVED.unpack_from(info, _BYTES_ACKED_OFFSET)
                sent, received = sent + up, received + down
    return sent, received


def _kibibytes(pid: int, file: str, name: str) -> int:
    for line in Path(f"/proc/{pid}/{file}").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise ProcessLookupError(pid)
