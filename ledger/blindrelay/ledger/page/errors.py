"""What is wrong with a request to the pages."""

from __future__ import annotations


class FormError(ValueError):
    """A form cannot be used as it is. The message is for the person who filled it in."""


class SignedOutError(Exception):
    """A session's token is not valid any more."""
