"""What can go wrong with a testbed.

TestbedError
├── PartDiedError         a process ended although nobody stopped it
├── PartNotReadyError     a process runs and does not become ready
├── InputError            a file that was given is wrong
└── UnavailableError      something is not installed or not set
"""

from __future__ import annotations

from typing import ClassVar


class TestbedError(Exception):
    """The testbed failed; the message says why and what to do."""

    __test__: ClassVar[bool] = False


class PartDiedError(TestbedError):
    """A part ended although nobody stopped it; the message ends with its last lines of stderr."""


class PartNotReadyError(TestbedError):
    """A part runs, and did not become ready in time."""


class InputError(TestbedError):
    """A file that was given cannot be read, or is wrong; the message says where."""


class UnavailableError(TestbedError):
    """The package, the weights or the key of a provider are missing."""
