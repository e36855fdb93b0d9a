"""Runs a command as a user without privileges, where we are root: a relay in its sandbox refuses to be root.

    python -P unprivileged.py COMMAND ARGUMENT…

The process becomes the command, as nobody in a new user namespace (user_namespaces(7)). It has no capability,
and still reads the files that root made for it. For other users than root nothing changes.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path
from typing import Final

_CLONE_NEWUSER: Final = 0x10000000
_NOBODY: Final = 65_534


def launcher() -> tuple[str, ...]:
    """What to put before a command that root must not run; nothing if we are not root."""
    return (sys.executable, "-P", str(Path(__file__))) if os.geteuid() == 0 else ()


def become_nobody() -> None:
    """Enters such a namespace, where we are root; the next program has no capability in it.

    Raises OSError where user namespaces are not allowed.
    """
    if os.geteuid() != 0:
        return
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "a user namespace was refused")
    Path("/proc/self/setgroups").write_text("deny")
    for kind in ("uid", "gid"):
        Path(f"/proc/self/{kind}_map").write_text(f"{_NOBODY} 0 1\n")


def main() -> None:
    """Raises OSError before anything of the command runs."""
    become_nobody()
    os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
