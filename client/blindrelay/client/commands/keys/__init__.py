"""`blindrelay keys`: what a client knows of a bridge's keys."""

from blindrelay.client.commands.keys.command import keys

__all__ = ["keys"]
