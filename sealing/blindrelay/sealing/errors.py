"""Errors of the message path, by who is at fault.

::

    SealingError
    ├── OpenError            somebody between the ends altered, cut or forged it; never says which
    ├── TruncatedError       the stream ended before its authenticated end
    ├── ViolationError       the authentic peer broke the protocol
    ├── StateError           the calling code used an object out of order
    └── KeyConfigError       a key cannot be used for sealing
        └── SuiteError       its suite is not known to this version
"""

from __future__ import annotations

from blindrelay.v1.picklable_error import PicklableError


class SealingError(PicklableError):
    """The root of this package's errors."""


class OpenError(SealingError):
    """A sealed message did not open. Every cause gives the same sentence, so it reveals nothing."""

    def __init__(self) -> None:
        super().__init__("a sealed message did not open: it was altered, misplaced or sealed to another key")


class TruncatedError(SealingError):
    """The stream ended before its final record, so the message is incomplete."""

    def __init__(self) -> None:
        super().__init__("the sealed stream was cut before its end")


class ViolationError(SealingError):
    """An authentic record breaks the protocol: the peer is faulty."""


class StateError(SealingError):
    """The caller used a one-shot object twice or out of order."""


class KeyConfigError(SealingError):
    """A key config does not have the form that the protocol requires."""


class SuiteError(KeyConfigError):
    """A key's suite is not known to this version."""
