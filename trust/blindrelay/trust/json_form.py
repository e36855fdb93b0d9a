"""The JSON that clients keep and exchange. It is read strictly: one meaning, or an error."""

from __future__ import annotations

import base64
import json
from typing import Any

from blindrelay.trust.errors import HistoryFormError


def read_json(text: str) -> Any:
    """Raises HistoryFormError for invalid JSON, duplicate keys, and numbers that are not integers."""
    try:
        return json.loads(text, object_pairs_hook=_once_each, parse_float=_refused, parse_constant=_refused)
    except (ValueError, RecursionError):
        raise HistoryFormError("it is not JSON, or it is incomplete") from None


def write_json(content: dict[str, Any]) -> str:
    """The text of an object, one member per line."""
    return json.dumps(content, indent=1) + "\n"


def members_of(value: Any, form: str, names: tuple[str, ...]) -> dict[str, Any]:
    """The members of an object: exactly `names`, and a `format` equal to `form`. Raises HistoryFormError."""
    if not isinstance(value, dict) or value.get("format") != form:
        raise HistoryFormError(f'it is not a "{form}"')
    if set(value) != {"format", *names}:
        raise HistoryFormError(f"its members are not format, {', '.join(names)}")
    return value


def list_of(value: Any) -> list[Any]:
    """Raises HistoryFormError for anything else."""
    if not isinstance(value, list):
        raise HistoryFormError("it has another value where a list is expected")
    return value


def texts_of(value: Any) -> list[str]:
    """A list of strings. Raises HistoryFormError."""
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise HistoryFormError("it has another value where a list of strings is expected")
    return value


def number_of(value: Any) -> int:
    """An integer from 0 to 2^63 - 1. Raises HistoryFormError."""
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise HistoryFormError("it has another value where a time is expected")
    return value


def bytes_of(text: str) -> bytes:
    """Decodes padded base64. Raises HistoryFormError unless the text is the only encoding of its bytes."""
    try:
        value = base64.b64decode(text, validate=True)
    except ValueError:
        raise HistoryFormError("it has another value where base64 is expected") from None
    if text_of(value) != text:
        raise HistoryFormError("it has base64 that is not canonical")
    return value


def text_of(value: bytes) -> str:
    """Base64 with padding."""
    return base64.b64encode(value).decode()


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("duplicate key")
    return members


def _refused(_: str) -> Any:
    raise ValueError("not an integer")
