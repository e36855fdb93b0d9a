"""The errors of a serving process.

ServingError
├── ConfigError         exit code 2: the operator's input is wrong; the message says where and what to do
├── StartError          exit code 1: the input is right, but the process cannot serve
└── CallRefusedError    one call ends with an outer status
"""

from __future__ import annotations

from typing import ClassVar

from blindrelay.v1.outer_status import OuterStatus
from blindrelay.v1.picklable_error import PicklableError


class ServingError(PicklableError):
    """The base of what a server of this project raises. The text is one sentence for a person."""

    exit_code: ClassVar[int] = 1


class StartError(ServingError):
    """The server cannot start or continue. For example, its port is taken."""


class ConfigError(ServingError):
    """A command line, configuration, token or key file is missing, unreadable or wrong."""

    exit_code = 2


class CallRefusedError(ServingError):
    """Raised by a handler to end its call with an outer status (spec/protocol.md, section 12).

    Attributes:
        retry_after: seconds until another attempt may succeed; 0 if that is unknown.
    """

    def __init__(self, status: OuterStatus, retry_after: int = 0) -> None:
        super().__init__(status.details)
        self.status = status
        self.retry_after = retry_after
