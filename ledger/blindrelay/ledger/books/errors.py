"""What the books refuse.

LedgerError
├── BooksError       the store cannot be used: missing, too new, on a network file system, used after a fork
│   └── BusyError        another session uses what this one has to lock
└── RefusedError     a request is wrong, and nothing was changed
    ├── UnknownError     an account, token, voucher or month does not exist
    ├── TakenError       a name, digest or reference is in use
    └── InvalidError     a value is out of its range, or the books do not allow the change now
"""

from __future__ import annotations

from blindrelay.v1.picklable_error import PicklableError


class LedgerError(PicklableError):
    """The base of what the ledger's books raise. The text is one sentence for a person."""


class BooksError(LedgerError):
    """The store cannot be used, and nothing was changed."""


class BusyError(BooksError):
    """Another session uses what this one has to lock, and nothing was changed."""


class RefusedError(LedgerError):
    """A request is wrong, and nothing was changed."""


class UnknownError(RefusedError):
    """What the request names does not exist."""


class TakenError(RefusedError):
    """What the request would add exists already."""


class InvalidError(RefusedError):
    """A value is out of its range, or the books do not allow the change now."""
