"""What can go wrong with a testbed.

TestbedError
├── PartDiedError         a process ended although nobody stopped it
├── PartNotReadyError     a process runs and does not become ready
└── UnavailableError      what was asked for is not installed or not set
"""

from __future__ import annotations

from typing import ClassVar


class TestbedError(Exception):
    """The testbed cannot do what it was asked to; the message says why and what to do."""

    __test__: ClassVar[bool] = False


class PartDiedError(TestbedError):
    """A part ended although nobody stopped it; the message ends with the last it wrote to stderr."""


class PartNotReadyError(TestbedError):
    """A part runs, and did not become ready in time."""


class UnavailableError(TestbedError):
    """A provider was asked for whose package, weights or key are not there."""
