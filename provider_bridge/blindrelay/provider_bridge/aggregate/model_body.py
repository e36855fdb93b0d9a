"""A body whose model can be replaced: JSON, or a form. No other byte of it changes."""

from __future__ import annotations

import json
import re
from typing import Final

from blindrelay.provider_bridge.aggregate.json_fields import Value, read_fields
from blindrelay.provider_bridge.errors import RequestError, not_allowed
from blindrelay.provider_bridge.stateless.form_data import FormError, field_span, form_boundary
from blindrelay.provider_bridge.stateless.json_body import JsonError
from blindrelay.v1.http_headers import Header

MAX_NAME: Final = 1_024
"""Bytes of a model's name as it is written in the body, which may have escapes."""

BEGINNING: Final = 65_536
"""Bytes at the beginning of a conversation that tell it apart from others."""

PLAIN_BEGINNING: Final = 256
"""The same for a plain prompt. A continued prompt begins with the same bytes."""

_MODEL: Final = b'"model"'
_LISTS: Final = (b'"messages"', b'"input"')
_WHOLE: Final = (b'"system"', b'"instructions"')
_PROMPT: Final = b'"prompt"'
_FROM_USER: Final = re.compile(rb'"role"\s*:\s*"user"')
_CACHE_MARK: Final = re.compile(rb',?\s*"cache_control"\s*:\s*\{[^{}]*\}')
"""Applications move these marks along as a conversation grows."""


class ModelBody:
    """A body, and where the name of its model is.

    Attributes:
        model: the name that the client gave.
        conversation: bytes that stay the same while a conversation grows; none if it is not one.
    """

    def __init__(self, body: bytearray, start: int, end: int, *, is_form: bool) -> None:
        self.model = ""
        self.conversation = b""
        self._body = body
        self._start, self._end = start, end
        self._is_form = is_form
        self._front = 0
        self._inserted = 0
        self._fields: frozenset[bytes] = frozenset()

    @classmethod
    async def of_json(cls, body: bytearray) -> ModelBody:
        """Raises RequestError if the body names no model."""
        try:
            start, fields = await read_fields(body)
        except JsonError as error:
            raise not_allowed(f"the body cannot be read: {error}") from None
        value = fields.get(_MODEL)
        text = b"" if value is None else body[value.start : value.end].rstrip(b" \t\r\n")
        try:
            name = json.loads(text) if value is not None and len(text) <= MAX_NAME else None
        except ValueError:
            name = None
        if value is None or not isinstance(name, str) or not name:
            raise _no_model()
        made = cls(body, value.start, value.start + len(text), is_form=False)
        made.model = name
        made.conversation = _conversation(body, fields)
        made._front = start + 1
        made._fields = frozenset(fields)
        return made

    @classmethod
    def of_form(cls, body: bytearray, boundary: bytes) -> ModelBody:
        """Raises RequestError if the form names no model."""
        try:
            span = field_span(body, boundary, "model")
        except FormError as error:
            raise not_allowed(f"the body cannot be read: {error}") from None
        if span is None or not 0 < span[1] - span[0] <= MAX_NAME:
            raise _no_model()
        made = cls(body, *span, is_form=True)
        made.model = body[span[0] : span[1]].decode("utf-8", "replace")
        return made

    def has_field(self, name: str) -> bool:
        """Whether the body has this field at its top level."""
        return json.dumps(name).encode() in self._fields

    def write(self, model: str, added: dict[str, str] | None = None) -> None:
        """Puts a model into the body, and before its fields those of `added`, instead of the last ones."""
        front = b"".join(
            b"%b:%b," % (json.dumps(name).encode(), json.dumps(value).encode())
            for name, value in (added or {}).items()
        )
        written = model.encode() if self._is_form else json.dumps(model).encode()
        self._body[self._start : self._end] = written
        self._end = self._start + len(written)
        self._body[self._front : self._front + self._inserted] = front
        self._start += len(front) - self._inserted
        self._end += len(front) - self._inserted
        self._inserted = len(front)


async def read_model(headers: list[Header], body: bytearray) -> ModelBody:
    """Finds the model in a JSON body, or in a form. Raises RequestError."""
    content_type = next((value for name, value in headers if name == b"content-type"), b"")
    boundary = form_boundary(content_type)
    return await ModelBody.of_json(body) if boundary is None else ModelBody.of_form(body, boundary)


def _no_model() -> RequestError:
    return not_allowed("the body names no model: set its field model")


def _conversation(body: bytearray, fields: dict[bytes, Value]) -> bytes:
    kept = [_value(body, fields[name]) for name in _WHOLE if name in fields]
    kept += [_to_first_question(body, fields[name]) for name in _LISTS if name in fields]
    if _PROMPT in fields:
        kept.append(_value(body, fields[_PROMPT])[:PLAIN_BEGINNING])
    return b"\0".join(_CACHE_MARK.sub(b"", each) for each in kept)


def _value(body: bytearray, value: Value) -> bytes:
    return bytes(body[value.start : min(value.end, value.start + BEGINNING)])


def _to_first_question(body: bytearray, value: Value) -> bytes:
    """The messages up to the first one of the user; of a plain text its beginning."""
    if not value.ends:
        return _value(body, value)[:PLAIN_BEGINNING]
    start = value.start
    for end in value.ends:
        if _FROM_USER.search(_value(body, Value(start, end))):
            return _value(body, Value(value.start, end))
        start = end
    return _value(body, Value(value.start, value.ends[0]))
