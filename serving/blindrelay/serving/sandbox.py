"""The sandbox: Landlock and a seccomp filter, after which a process can only serve (Linux).

docs/sandbox.md lists what is refused, and by what.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from blindrelay.serving.errors import StartError
from blindrelay.serving.landlock import restrict
from blindrelay.serving.seccomp import allow_only_listed_calls

_DNS: Final = 53

_SYSTEM: Final = ("/etc", "/usr", "/lib", "/lib32", "/lib64", "/nix/store", "/gnu/store")
"""Libraries, certificates, time zones, and how names are looked up."""

_SINGLE_FILES: Final = ("/dev/null", "/dev/urandom", "/sys/devices/system/cpu")

_LINKED_FROM_ETC: Final = ("resolv.conf", "hosts", "nsswitch.conf", "gai.conf", "localtime")
"""These may be links to files elsewhere, such as in /run, that are replaced while the process runs."""

_OWN_ROOTS: Final = "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"
"""The environment variable with which gRPC finds root certificates other than its own."""


@dataclass(frozen=True)
class Needs:
    """What a process needs in the sandbox.

    Attributes:
        files: files whose folders it may read, since a file may be replaced.
        bind, connect: TCP ports.
        look_up: whether it looks up names with DNS.
        fork: whether it starts processes, as a supervisor does.
    """

    files: tuple[Path, ...]
    bind: tuple[int, ...]
    connect: tuple[int, ...]
    look_up: bool = False
    fork: bool = False


def leave_terminal() -> None:
    """Gives up inherited descriptors: stdin becomes empty, and only stdout and stderr stay open.

    Raises StartError if one of the three is a terminal, or if the process runs as root.
    """
    check_surroundings()
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    for descriptor in list(Path("/proc/self/fd").iterdir()):
        if int(descriptor.name) > 2:
            with suppress(OSError):  # the descriptor with which the folder was listed
                os.close(int(descriptor.name))


def check_surroundings() -> None:
    """Raises StartError where the sandbox would protect less: with a terminal on 0, 1 or 2, or as root."""
    if sys.platform == "linux" and os.geteuid() == 0:
        raise StartError(
            "sandbox = true does not run as root: start the relay as its own user "
            "(systemd: DynamicUser=yes or User=; a shell: setpriv --reuid=NAME --regid=NAME --clear-groups)"
        )
    if any(map(os.isatty, range(3))):
        raise StartError(
            "sandbox = true does not run on a terminal, because the relay could type into it: "
            "start it with systemd, or append </dev/null 2>&1 | cat"
        )


def enter_sandbox(needs: Needs) -> None:
    """Puts this thread, and every thread that it starts, into the sandbox permanently.

    Raises StartError if other threads run already, since they would stay outside. Raises it too if the kernel
    has no Landlock or no seccomp, and on processors other than x86-64 and ARM64.
    """
    connect = (*needs.connect, _DNS) if needs.look_up else needs.connect
    if sys.platform == "linux" and len(list(Path("/proc/self/task").iterdir())) != 1:
        raise StartError("the sandbox cannot be entered: other threads run already")
    restrict(set(_readable(needs.files)), needs.bind, connect)
    allow_only_listed_calls(may_fork=needs.fork, may_look_up=needs.look_up)


def _readable(files: tuple[Path, ...]) -> Iterator[Path]:
    """Folders and files that are read while serving. Some are read late, such as modules."""
    yield from map(Path, (*_SYSTEM, *_SINGLE_FILES, sys.prefix, sys.base_prefix, sys.exec_prefix))
    for module in list(sys.modules.values()):
        if (file := getattr(module, "__file__", None)) is not None:
            yield Path(file).parent
    linked = [Path("/etc", name) for name in _LINKED_FROM_ETC]
    roots = os.environ.get(_OWN_ROOTS)
    for file in (*files, *linked, *([] if not roots else [Path(roots)])):
        # Both the link's folder and its target's: a renewed certificate is a new link to a new file.
        yield from (file.absolute().parent, file.resolve().parent)
