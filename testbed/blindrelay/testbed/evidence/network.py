"""A network namespace of the run's own: nothing else crosses its loopback, and every packet can be read.

Reading memory and the network needs rights. A user has them within a user namespace of their own
(user_namespaces(7)), so an evidence run does not have to be root where those are allowed.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
from typing import Final, NoReturn

from blindrelay.testbed.errors import UnavailableError

INSIDE: Final = "--inside-its-own-network"
"""The option with which the command calls itself again."""

_SIOCGIFFLAGS: Final = 0x8913
_SIOCSIFFLAGS: Final = 0x8914
_IFF_UP: Final = 1


def enter_own_network() -> NoReturn:
    """Runs this process's command again in new namespaces. Raises UnavailableError."""
    unshare = shutil.which("unshare")
    if unshare is None:
        raise UnavailableError("the evidence run needs Linux and its command unshare")
    namespaces = ["--net"] if os.geteuid() == 0 else ["--user", "--map-root-user", "--net"]
    if subprocess.run([unshare, *namespaces, "true"], capture_output=True).returncode != 0:
        raise UnavailableError("the evidence run needs network namespaces: allow them, or be root")
    command = [unshare, *namespaces, sys.executable, "-m", "blindrelay.testbed", *sys.argv[1:], INSIDE]
    os.execv(unshare, command)


def raise_loopback() -> None:
    """Brings the new namespace's loopback up, as `ip link set lo up` does."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh14x", b"lo", 0)
        name, flags = struct.unpack("16sh14x", fcntl.ioctl(control, _SIOCGIFFLAGS, request))
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh14x", name, flags | _IFF_UP))


class Doorway:
    """Carries connections to a relay, as if from another address."""

    def __init__(self, relay: str, address: str) -> None:
        host, _, port = relay.rpartition(":")
        self._relay = (host, int(port))
        self._address = address

    async def open(self) -> int:
        """Listens on a free port of 127.0.0.1, which is returned, for as long as the event loop runs."""
        server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        return int(server.sockets[0].getsockname()[1])

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward, backward = await asyncio.open_connection(*self._relay, local_addr=(self._address, 0))
        await asyncio.gather(_pump(reader, backward), _pump(onward, writer), return_exceptions=True)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()
