"""A program that ends with its parent, as every program of a testbed does."""

from __future__ import annotations

import os
import pwd
import select
import signal
import subprocess
import sys

import pytest

from blindrelay.testbed.with_parent import with_parent

PARENT = """
import subprocess, sys
print(subprocess.Popen(sys.argv[1:]).pid, flush=True)
sys.stdin.read()
"""


def nobody() -> tuple[int, int] | None:
    """For root: the program of another user has lost the signal, unless it was asked for late enough."""
    user = pwd.getpwnam("nobody")
    return (user.pw_uid, user.pw_gid) if os.geteuid() == 0 else None


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
@pytest.mark.parametrize("owner", [None, nobody()], ids=["this user", "nobody"])
def test_program_gets_a_signal_when_its_parent_is_killed(owner: tuple[int, int] | None) -> None:
    command = (*with_parent(signal.SIGTERM, owner), "/bin/sh", "-c", "echo up; exec sleep 600")
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid, up = (parent.stdout.readline() for _ in range(2))
        program = os.pidfd_open(int(pid))
        try:
            assert up == "up\n"
            parent.kill()
            ended, _, _ = select.select([program], [], [], 60)
            assert ended == [program]
        finally:
            os.close(program)
