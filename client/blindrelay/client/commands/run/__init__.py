"""`blindrelay run`: runs a program whose calls are sealed or refused."""

from blindrelay.client.commands.run.command import run

__all__ = ["run"]
