"""`blindrelay doctor`: checks each hop to the provider."""

from blindrelay.client.commands.doctor.command import doctor

__all__ = ["doctor"]
