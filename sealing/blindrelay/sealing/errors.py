"""What can go wrong on the message path, by who is at fault.

::

    SealingError
    ├── OpenError            somebody on the way altered, cut into or forged it; never says what
    ├── TruncatedError       the stream ended before its authenticated end
    ├── ViolationError       the authentic peer broke the protocol
    ├── StateError           this side's caller used an object out of order
    └── KeyConfigError       a key cannot be sealed to
        └── SuiteError       it is of a suite that this version does not know
"""

from __future__ import annotations

from blindrelay.v1.picklable_error import PicklableError

__all__ = [
    "KeyConfigError",
    "OpenError",
    "SealingError",
    "StateError",
    "SuiteError",
    "TruncatedError",
    "ViolationError",
]


class SealingError(PicklableError):
    """The root of this package's errors."""


class OpenError(SealingError):
    """A sealed message did not open. One sentence for every cause, so that nothing can be probed with it."""

    def __init__(self) -> None:
        super().__init__("a sealed message did not open: it was altered, misplaced or sealed to another key")


class TruncatedError(SealingError):
    """The stream ended before its final record: what came so far is a part, not the whole."""

    def __init__(self) -> None:
        super().__init__("the sealed stream was cut before its end")


class ViolationError(SealingError):
    """What opened is authentic and yet not what the protocol allows: the peer is faulty."""


class StateError(SealingError):
    """The caller used a one-shot object twice or out of order."""


class KeyConfigError(SealingError):
    """A key config is not in the form that the protocol gives it."""


class SuiteError(KeyConfigError):
    """A key is of a suite that this version does not know."""
