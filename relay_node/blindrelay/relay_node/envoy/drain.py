"""`blindrelay-relay drain`: lets the exchanges of an Envoy finish, before it is stopped."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from blindrelay.relay_node.config import RelayConfig
from blindrelay.relay_node.envoy.folder import EnvoyFolder
from blindrelay.relay_node.envoy.process import envoy_config
from blindrelay.serving import StartError

LISTEN_SECONDS: Final = 5.0
"""How long Envoy takes new exchanges while it tells clients to leave: Envoy's `--drain-time-s`."""

PATIENCE: Final = 5.0
"""Seconds for a response of Envoy."""

_LOOK_SECONDS: Final = 0.2
_RUNNING: Final = "http.clients.downstream_rq_active"


class _Admin(http.client.HTTPConnection):
    """A connection to Envoy's admin interface, by its socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("envoy", timeout=PATIENCE)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(str(self._path))


def drain_envoy(
    config: RelayConfig,
    file: Path,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Tells Envoy to take no new exchanges, and waits for those that run, for `drain_seconds` at most.

    `file` is relay.toml. Raises StartError if Envoy does not answer, or if exchanges still run.
    """
    admin = EnvoyFolder.admin_of(envoy_config(config, file).folder)
    _ask(admin, "POST", "/drain_listeners?graceful")
    began = clock()
    while (running := _running(admin)) or clock() < began + LISTEN_SECONDS:
        if clock() > began + max(LISTEN_SECONDS, config.drain_seconds):
            raise StartError(f"{running} exchanges still run after {config.drain_seconds} seconds")
        sleep(_LOOK_SECONDS)


def _running(admin: Path) -> int:
    found = json.loads(_ask(admin, "GET", f"/stats?format=json&filter=^{_RUNNING}$"))["stats"]
    return int(found[0]["value"]) if found else 0


def _ask(admin: Path, method: str, path: str) -> bytes:
    connection = _Admin(admin)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        answer = response.read()
    except (OSError, http.client.HTTPException):
        raise StartError(f"Envoy does not answer at {admin}: it is not running") from None
    finally:
        connection.close()
    if response.status != http.client.OK:
        raise StartError(f"Envoy answered {response.status} at {admin}")
    return answer
