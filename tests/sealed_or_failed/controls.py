"""Exchanges that leak on purpose, which the search must find."""

from __future__ import annotations

import socket
from typing import Final

import h2.connection
import httpx

from tests.patience import PATIENCE

from .content import IN_CLEAR, Canaries, endings
from .world import OUTSIDE, Outcomes, Scenario, World


def in_clear(world: World, canaries: Canaries, proxy: str | None = None) -> Outcomes:
    """An ordinary client."""
    with httpx.Client(trust_env=False, proxy=proxy, timeout=PATIENCE) as client:
        return {"client": endings(client, IN_CLEAR, canaries)}


def in_clear_through_a_proxy(world: World, canaries: Canaries) -> Outcomes:
    """As a client of which its environment says that it uses a proxy."""
    return in_clear(world, canaries, world.sink.proxy)


def in_compressed_headers(_: World, canaries: Canaries) -> Outcomes:
    """A search that does not know the header compression of HTTP/2 would miss them."""
    connection = h2.connection.H2Connection()
    connection.initiate_connection()
    headers = [(":method", "GET"), (":path", "/"), (":scheme", "http"), (":authority", "x")]
    connection.send_headers(1, [*headers, *((f"x-{kind}", word) for kind, word in canaries.items())])
    with socket.create_connection((OUTSIDE, 80)) as stream:
        stream.sendall(connection.data_to_send())
    return {"client": ["sent"]}


def in_a_name(_: World, canaries: Canaries) -> Outcomes:
    """Names are resolved in clear."""
    for _kind, word in canaries.items():
        try:
            socket.getaddrinfo(f"{word}.example", 443)
        except OSError:
            continue
    return {"client": ["asked"]}


CONTROLS: Final[dict[str, Scenario]] = {
    "in clear": in_clear,
    "in clear through a proxy": in_clear_through_a_proxy,
    "in compressed headers": in_compressed_headers,
    "in a name": in_a_name,
}
