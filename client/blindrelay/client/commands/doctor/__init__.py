"""`blindrelay doctor`: what is wrong, hop by hop."""

from blindrelay.client.commands.doctor.command import doctor

__all__ = ["doctor"]
