"""Starts a program behind the wall of wall.py, and receives the endpoint's socket from there."""

from __future__ import annotations

import os
import secrets
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from blindrelay.client.commands.run.program import Program

_LAUNCHER: Final = Path(__file__).with_name("wall.py")
_ERROR: Final = struct.Struct("=ci")
_PORTS: Final = range(49_152, 65_536)
"""Dynamic ports (RFC 6335, section 6). All are free in a new network."""


class NoWallError(Exception):
    """This machine does not allow a wall; the message says what failed."""


class WalledProgram:
    """A program that is about to start in a network of its own.

    Attributes:
        listener: listens on 127.0.0.1 in the program's network; unreachable from outside.
    """

    def __init__(
        self, command: Sequence[str], environ: Mapping[str, str], port: int, *, allow_unix: bool
    ) -> None:
        """Builds the wall. Raises NoWallError."""
        if sys.platform != "linux":
            raise NoWallError("only Linux has a wall for programs")
        self._channel, theirs = socket.socketpair()
        arguments = [str(theirs.fileno()), str(port), str(int(allow_unix)), *command]
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-I", "-S", str(_LAUNCHER), *arguments],
                env=dict(environ),
                pass_fds=[theirs.fileno()],
            )
        message, descriptors, _, _ = socket.recv_fds(self._channel, _ERROR.size, 1)
        if not descriptors:
            self._end()
            raise NoWallError(_reason(message))
        self.listener = socket.socket(fileno=descriptors[0])

    def start(self) -> Program:
        """Starts the program. Raises OSError if it cannot be run."""
        with suppress(BrokenPipeError):  # a signal has ended it
            self._channel.sendall(b"+")
        message = self._channel.recv(_ERROR.size)
        if len(message) == _ERROR.size:
            number = _ERROR.unpack(message)[1]
            raise OSError(number, os.strerror(number))
        return self._process

    def close(self) -> None:
        """Ends the program if it has not started."""
        self.listener.close()
        self._end()

    def _end(self) -> None:
        self._channel.close()
        self._process.wait()


def any_port() -> int:
    """A random port for the endpoint in the program's network."""
    return secrets.choice(_PORTS)


def _reason(message: bytes) -> str:
    if len(message) != _ERROR.size:
        return "the wall could not be built"
    return f"this machine does not allow network namespaces ({os.strerror(_ERROR.unpack(message)[1])})"
