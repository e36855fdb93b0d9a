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
import signal, subprocess, sys
from blindrelay.testbed.with_parent import with_parent

command = (*with_parent(signal.SIGTERM, OWNER), "/bin/sh", "-c", "echo up; exec sleep 600")
print(subprocess.Popen(command).pid, flush=True)
sys.stdin.read()
"""


def nobody() -> tuple[int, int] | None:
    """For root: the program of another user has lost the signal, unless it was asked for late enough."""
    user = pwd.getpwnam("nobody")
    return (user.pw_uid, user.pw_gid) if os.geteuid() == 0 else None


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
@pytest.mark.parametrize("owner", [None, nobody()], ids=["this user", "nobody"])
def test_program_gets_a_signal_when_its_parent_is_killed(owner: tuple[int, int] | None) -> None:
    command = [sys.executable, "-c", PARENT.replace("OWNER", repr(owner))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
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


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_program_does_not_start_if_its_parent_has_ended_before() -> None:
    """The signal would never come."""
    command = (*with_parent(signal.SIGTERM), "/bin/echo", "up")  # of this process, and a shell runs it
    done = subprocess.run(["sh", "-c", '"$@"; exit $?', "sh", *command], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
