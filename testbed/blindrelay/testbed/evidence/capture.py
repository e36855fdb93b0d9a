"""Everything that crosses the interfaces of this network namespace, as streams of bytes."""

from __future__ import annotations

import socket
import struct
import threading
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import Final

from blindrelay.testbed.errors import TestbedError

_EVERY_PROTOCOL: Final = 0x0003
_OUTGOING: Final = 4
"""linux/if_packet.h, PACKET_OUTGOING: on loopback each packet is seen going out and coming in."""
_SO_RCVBUFFORCE: Final = 33
_SOL_PACKET: Final = 263
_PACKET_STATISTICS: Final = 6
"""asm-generic/socket.h, linux/socket.h, linux/if_packet.h."""
_TCP: Final = 6
_UDP: Final = 17
_SYN: Final = 0x02
_ACK: Final = 0x10
"""RFC 9293, section 3.1."""
_ROOM: Final = 64 * 1024 * 1024


@dataclass(frozen=True)
class Flow:
    """One direction of a conversation; `connection` tells TCP connections apart that had the same ports."""

    protocol: int
    source: str
    source_port: int
    target: str
    target_port: int
    connection: int = 0

    @property
    def ports(self) -> set[int]:
        return {self.source_port, self.target_port}


class MissedPacketsError(TestbedError):
    """Not everything was seen, so that what was not found proves nothing."""


class Capture:
    """Listens from its making until stop(). Needs CAP_NET_RAW."""

    def __init__(self) -> None:
        self._flows: dict[Flow, bytearray] = defaultdict(bytearray)
        self._connections: Counter[frozenset[tuple[str, int]]] = Counter()
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_EVERY_PROTOCOL))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _ROOM)
        self._socket.settimeout(0.2)
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Takes what has passed already, and ends. Raises MissedPacketsError."""
        self._stopped.set()
        self._thread.join()
        _, dropped = struct.unpack("II", self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
        self._socket.close()
        if dropped:
            raise MissedPacketsError(
                f"{dropped} packets were missed: the machine is too busy to see them all"
            )

    @property
    def flows(self) -> dict[Flow, bytes]:
        """What passed until now."""
        with self._lock:
            return {flow: bytes(data) for flow, data in self._flows.items()}

    def _listen(self) -> None:
        while True:
            try:
                packet, address = self._socket.recvfrom(1 << 18)
            except TimeoutError:
                if self._stopped.is_set():
                    return
                continue
            if address[2] == _OUTGOING and (parsed := _parsed(packet)) is not None:
                flow, data, opens = parsed
                ends = frozenset({(flow.source, flow.source_port), (flow.target, flow.target_port)})
                self._connections[ends] += opens
                with self._lock:
                    self._flows[replace(flow, connection=self._connections[ends])] += data


def _parsed(packet: bytes) -> tuple[Flow, bytes, bool] | None:
    """The flow, what it carries, and whether it begins, of IPv4 and IPv6 with TCP or UDP."""
    if packet[0] >> 4 == 4:
        start, protocol = (packet[0] & 15) * 4, packet[9]
        size = int.from_bytes(packet[2:4], "big") or len(packet)
        source, target = socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20])
    elif packet[0] >> 4 == 6:
        start, protocol, size = 40, packet[6], 40 + int.from_bytes(packet[4:6], "big")
        source, target = (socket.inet_ntop(socket.AF_INET6, packet[at : at + 16]) for at in (8, 24))
    else:
        return None
    if protocol not in (_TCP, _UDP):
        return None
    segment = packet[start:size]
    header = (segment[12] >> 4) * 4 if protocol == _TCP else 8
    source_port, target_port = struct.unpack("!HH", segment[:4])
    opens = protocol == _TCP and segment[13] & (_SYN | _ACK) == _SYN
    return Flow(protocol, source, source_port, target, target_port), segment[header:], opens
