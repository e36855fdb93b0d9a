"""A double of the relay: any bridge may list anybody's keys."""

from __future__ import annotations

from contextlib import AbstractContextManager
from unittest.mock import patch

from blindrelay.relay_node.replica import Replica


def without_replica_identities() -> AbstractContextManager[object]:
    """The relay does not look at whom its configuration lets a replica speak for."""
    return patch.object(Replica, "may_speak_for", lambda *_: True)
