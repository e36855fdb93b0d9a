"""The time limits of one request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from blindrelay.client.connection_config import ConnectionConfig


@dataclass(frozen=True)
class Timeouts:
    """Limits in seconds, as httpx has them. None means no limit.

    `first_byte` limits the wait for the first record of the response, `read` the wait for each later one.
    """

    connect: float | None
    first_byte: float | None
    read: float | None
    write: float | None
    pool: float | None

    @classmethod
    def of(cls, extensions: dict[str, Any], config: ConnectionConfig) -> Timeouts:
        """The limits in a request's extensions. The configured `first_byte` and `idle` replace its `read`."""
        timeouts = extensions.get("timeout", {})
        read = timeouts.get("read")
        return cls(
            connect=timeouts.get("connect"),
            first_byte=read if config.first_byte is None else config.first_byte,
            read=read if config.idle is None else config.idle,
            write=timeouts.get("write"),
            pool=timeouts.get("pool"),
        )
