"""The system calls of a process in the sandbox, with their numbers on x86-64 and ARM64 (None: no such call).

They are what Python, gRPC and a C library need to serve, to read files, and to write to open descriptors.
Whole families of calls are left out:

* creating and changing files, their attributes and times, and running programs;
* signalling and inspecting other processes, and changing their priorities and limits;
* shared memory, queues, semaphores, keyrings, io_uring;
* namespaces, mounts, clocks, host names, and everything else that only root may do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

Numbers = Mapping[str, tuple[int | None, int | None]]


class Check(NamedTuple):
    """A condition on a call's arguments: a 32-bit word, masked, has one of the values.

    Argument N has the words 2N (lower half) and 2N + 1 (upper half).
    """

    word: int
    mask: int
    values: tuple[int, ...]


Checks = tuple[Check, ...]

# fmt: off
CALLS: Final[Numbers] = {
    # Memory.
    "brk": (12, 214), "mmap": (9, 222), "mprotect": (10, 226), "munmap": (11, 215), "mremap": (25, 216),
    "madvise": (28, 233), "mincore": (27, 232), "membarrier": (324, 283),
    # Threads.
    "exit": (60, 93), "exit_group": (231, 94), "futex": (202, 98), "futex_waitv": (449, 449),
    "getcpu": (309, 168), "gettid": (186, 178), "rseq": (334, 293), "sched_yield": (24, 124),
    "sched_getaffinity": (204, 123), "sched_getparam": (143, 121), "sched_getscheduler": (145, 120),
    "sched_get_priority_max": (146, 125), "sched_get_priority_min": (147, 126),
    "set_robust_list": (273, 99), "set_tid_address": (218, 96), "arch_prctl": (158, None),
    # Questions about the process itself, and about children that it has started.
    "getegid": (108, 177), "geteuid": (107, 175), "getgid": (104, 176), "getgroups": (115, 158),
    "getpgid": (121, 155), "getpgrp": (111, None), "getpid": (39, 172), "getppid": (110, 173),
    "getresgid": (120, 150), "getresuid": (118, 148), "getrusage": (98, 165), "getsid": (124, 156),
    "getuid": (102, 174), "getrandom": (318, 278), "getrlimit": (97, 163), "sysinfo": (99, 179),
    "times": (100, 153), "uname": (63, 160), "wait4": (61, 260), "waitid": (247, 95),
    # Handling its own signals.
    "alarm": (37, None), "setitimer": (38, 103), "getitimer": (36, 102), "pause": (34, None),
    "restart_syscall": (219, 128), "rt_sigaction": (13, 134), "rt_sigpending": (127, 136),
    "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "rt_sigsuspend": (130, 133),
    "rt_sigtimedwait": (128, 137), "sigaltstack": (131, 132),
    # Time.
    "clock_getres": (229, 114), "clock_gettime": (228, 113), "clock_nanosleep": (230, 115),
    "gettimeofday": (96, 169), "nanosleep": (35, 101), "time": (201, None),
    # Reading files and folders.
    "access": (21, None), "faccessat": (269, 48), "faccessat2": (439, 439), "fadvise64": (221, 223),
    "fstat": (5, 80), "fstatfs": (138, 44), "getcwd": (79, 17), "getdents": (78, None),
    "getdents64": (217, 61), "lseek": (8, 62), "lstat": (6, None), "newfstatat": (262, 79),
    "pread64": (17, 67), "preadv": (295, 69), "preadv2": (327, 286), "read": (0, 63),
    "readlink": (89, None), "readlinkat": (267, 78), "readv": (19, 65), "stat": (4, None),
    "statfs": (137, 43), "statx": (332, 291),
    # Open descriptors: the log, sockets, pipes between threads.
    "close": (3, 57), "close_range": (436, 436), "dup": (32, 23), "dup2": (33, None), "dup3": (292, 24),
    "pipe": (22, None), "pipe2": (293, 59), "eventfd": (284, None), "eventfd2": (290, 19),
    "write": (1, 64), "writev": (20, 66),
    "epoll_create": (213, None), "epoll_create1": (291, 20), "epoll_ctl": (233, 21),
    "epoll_pwait": (281, 22), "epoll_pwait2": (441, 441), "epoll_wait": (232, None),
    "poll": (7, None), "ppoll": (271, 73), "pselect6": (270, 72), "select": (23, None),
    # Sockets that exist already.
    "accept": (43, 202), "accept4": (288, 242), "bind": (49, 200), "connect": (42, 203),
    "getpeername": (52, 205), "getsockname": (51, 204), "getsockopt": (55, 209), "listen": (50, 201),
    "recvfrom": (45, 207), "recvmmsg": (299, 243), "recvmsg": (47, 212), "setsockopt": (54, 208),
    "shutdown": (48, 210),
}

NUMBERS_OF_CHECKED: Final[Numbers] = {
    "open": (2, None), "openat": (257, 56), "fcntl": (72, 25), "ioctl": (16, 29), "prctl": (157, 167),
    "prlimit64": (302, 261), "clone": (56, 220), "fork": (57, None),
    "socket": (41, 198), "socketpair": (53, 199),
    "sendto": (44, 206), "sendmsg": (46, 211), "sendmmsg": (307, 269),
}
# fmt: on
"""Calls that are allowed with some arguments only. A filter cannot see arguments in memory, so clone3 and
openat2 are left out: C libraries fall back on the older calls."""

_WHOLE: Final = 0xFFFFFFFF

_WRITING: Final = 0x1 | 0x2 | 0x40 | 0x200 | 0x400000
"""O_WRONLY, O_RDWR, O_CREAT, O_TRUNC, O_TMPFILE. Before Linux 6.2, Landlock did not restrict truncation."""

_FCNTL: Final = (0, 1, 2, 3, 4, 1030)
"""F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC. F_SETOWN could signal other processes."""

_IOCTL: Final = (0x5401, 0x541B, 0x5421, 0x5450, 0x5451)
"""TCGETS (is this a terminal?), FIONREAD, FIONBIO, FIONCLEX, FIOCLEX."""

_PRCTL: Final = (15, 16, 22, 38, 0x53564D41)
"""PR_SET_NAME, PR_GET_NAME, PR_SET_SECCOMP (a further filter), PR_SET_NO_NEW_PRIVS, PR_SET_VMA."""

_UNIX, _INET, _INET6 = 1, 2, 10
_STREAM, _DATAGRAM = 1, 2
_KIND: Final = _WHOLE ^ 0x80800
"""A socket's type without SOCK_NONBLOCK and SOCK_CLOEXEC."""

_PROTOCOLS: Final = (0, 6, 17)
"""The default, TCP, UDP. Landlock's rules on ports do not cover MPTCP."""

_FAST_OPEN: Final = 0x20000000
"""MSG_FASTOPEN connects while it sends, which Landlock does not notice."""

_NAMESPACES: Final = 0x20000 | 0x7E000000
"""CLONE_NEWNS and the other namespaces."""

_CLONE_THREAD: Final = 0x10000

THREADS_ONLY: Final[Mapping[str, Checks]] = {
    "clone": (Check(0, _CLONE_THREAD | _NAMESPACES, (_CLONE_THREAD,)),),
    "fork": (Check(0, 0, ()),),
}

FORKING: Final[Mapping[str, Checks]] = {
    "clone": (Check(0, _NAMESPACES, (0,)),),
    "fork": (),
}
"""For a supervisor, which starts workers and serves no calls."""


def checked_calls(*, may_look_up: bool) -> dict[str, Checks]:
    """The checks of each call's arguments, without clone and fork."""
    kinds = (_STREAM, _DATAGRAM) if may_look_up else (_STREAM,)
    no_fast_open = {"sendto": 6, "sendmsg": 4, "sendmmsg": 6}
    return {
        "open": (Check(2, _WRITING, (0,)),),
        "openat": (Check(4, _WRITING, (0,)),),
        "fcntl": (Check(2, _WHOLE, _FCNTL),),
        "ioctl": (Check(2, _WHOLE, _IOCTL),),
        "prctl": (Check(0, _WHOLE, _PRCTL),),
        # Reading a limit, not setting one.
        "prlimit64": (Check(4, _WHOLE, (0,)), Check(5, _WHOLE, (0,))),
        "socket": (
            Check(0, _WHOLE, (_INET, _INET6)),
            Check(2, _KIND, kinds),
            Check(4, _WHOLE, _PROTOCOLS),
        ),
        # A datagram socket of a pair could send to any local daemon. A stream socket cannot.
        "socketpair": (Check(0, _WHOLE, (_UNIX,)), Check(2, _KIND, (_STREAM,))),
        **{name: (Check(word, _FAST_OPEN, (0,)),) for name, word in no_fast_open.items()},
    }
