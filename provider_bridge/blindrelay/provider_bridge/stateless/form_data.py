"""Checks a multipart/form-data body against a rule (RFC 7578, RFC 2046; spec/protocol.md, section 11.5).

Only the header lines of each part are read; its value is content. A form that parsers could split in
different ways is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from blindrelay.provider_bridge.stateless.json_check import Place, check_stored, refuse_unknown
from blindrelay.provider_bridge.stateless.rules import VALUE, Rule

MAX_PARTS: Final = 1_000
"""Parts of one form. Providers' forms have a dozen fields and a few files."""

MAX_PART_HEADERS: Final = 4_096
"""Bytes of one part's header lines."""

MAX_VALUE: Final = 1_024
"""Bytes of a value that form_values() reads. A model's name has a few dozen."""

_CONTENT_TYPE: Final = re.compile(
    rb"multipart/form-data(?: *; *charset=\"?utf-8\"?)? *; *boundary=(?:([0-9A-Za-z'()+_,\-./:=?]{1,70})"
    rb"|\"([0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?])\")"
    rb"(?: *; *charset=\"?utf-8\"?)?",
    re.IGNORECASE,
)
"""RFC 2046, section 5.1.1. Only UTF-8 as charset: another would change how names are read."""

_HEADER: Final = re.compile(rb"([A-Za-z-]+):([^\r\n\0]*)")
_DISPOSITION: Final = re.compile(
    rb"form-data"
    rb" *; *name=(?:\"(?P<quoted>[A-Za-z0-9_.\-\[\]]+)\"|(?P<name>[A-Za-z0-9_.\-\[\]]+))"
    rb"(?P<file> *; *filename=(?:\"(?P<filename>(?:[^\"\\\r\n]|\\(?!\"))*)\"|[^\s\";=\\]+))?"
    rb"(?P<extended> *; *filename\*=(?:UTF-8|ISO-8859-1)'[A-Za-z-]*'[^\s\";=\\']*)?"
    rb" *;?",
    re.IGNORECASE,
)
"""A field's name may have only the characters that providers use, since some parsers decode others. A file's
name may have any, but no escaped quotation mark: half of all parsers end the name there."""

_NAME_IN_FILENAME: Final = re.compile(rb";\s*+name\s*+\*?\s*+=", re.IGNORECASE)
"""In a file's name: parsers that split at semicolons would read what follows as the field's name."""

_PART_TYPE: Final = re.compile(
    rb"(?!multipart/|message/)[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+"
    rb"(?: *; *(?!charset|boundary)[a-z0-9_-]+=[^;]*+| *; *charset=\"?(?:utf-8|us-ascii)\"?)*",
    re.IGNORECASE,
)
_PART_HEADERS: Final = frozenset(
    {b"content-disposition", b"content-length", b"content-transfer-encoding", b"content-type"}
)
_PLAIN_ENCODINGS: Final = frozenset({b"7bit", b"8bit", b"binary"})
_NAME: Final = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_STEP: Final = re.compile(r"\[([^\[\]]*)\]")


class FormError(ValueError):
    """The form could be read in more than one way, or not at all. The text says why."""


def form_boundary(content_type: bytes) -> bytes | None:
    """The boundary that a content-type names; None if it is not form data, or has other parameters."""
    match = _CONTENT_TYPE.fullmatch(content_type)
    return None if match is None else match[1] or match[2]


def check_form(body: bytes | bytearray, boundary: bytes, rule: Rule) -> None:
    """Checks the fields of a form. Raises FormError, StoredObjectError."""
    for headers, start, end in _parts(body, boundary):
        name, is_file = _read_headers(headers)
        _check_field(name, rule, is_file=is_file, empty=start == end)


def field_span(body: bytes | bytearray, boundary: bytes, name: str) -> tuple[int, int] | None:
    """Where a plain field's value begins and ends, or None. Raises FormError if the form has it twice."""
    spans = [
        (start, end)
        for headers, start, end in _parts(body, boundary)
        if _read_headers(headers) == (name, False)
    ]
    if len(spans) > 1:
        raise FormError(f"it has the field {name} twice")
    return spans[0] if spans else None


def form_values(body: bytes | bytearray, boundary: bytes) -> dict[str, str]:
    """The values of a checked form, by their fields' names; no files. A value over MAX_VALUE is empty.

    Raises FormError if a field that is not a list is given twice: servers differ about which one counts.
    """
    values: dict[str, str] = {}
    for headers, start, end in _parts(body, boundary):
        name, is_file = _read_headers(headers)
        if is_file:
            continue
        if name in values and not name.endswith("[]"):
            raise FormError(f"it has the field {name} twice")
        values[name] = body[start:end].decode("utf-8", "replace") if end - start <= MAX_VALUE else ""
    return values


def _parts(body: bytes | bytearray, boundary: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The header lines of each part, and where its value begins and ends."""
    delimiter = b"--" + boundary
    delimiters = _line_starts(body, delimiter)
    if not body.startswith(delimiter + b"\r\n"):
        raise FormError("it does not begin with its boundary")
    start = len(delimiter) + 2
    for _ in range(MAX_PARTS):
        found = next(delimiters, -1)
        if found < 0:
            raise FormError("it does not end with its boundary")
        end = found - 2
        if body[end : end + 2] != b"\r\n":
            raise FormError("a boundary is not on a line of its own")
        yield _part(body, start, end)
        start = found + len(delimiter) + 2
        after = bytes(body[start - 2 : start])
        if after == b"--":
            if bytes(body[start : start + 3]) not in (b"", b"\r\n"):
                raise FormError("something follows its last boundary")
            return
        if after != b"\r\n":
            raise FormError("a boundary is not on a line of its own")
    raise FormError(f"it has more than {MAX_PARTS} parts")


def _line_starts(body: bytes | bytearray, delimiter: bytes) -> Iterator[int]:
    """Where the delimiter follows a CR or LF, in order. A regular expression would take ten times as long."""
    ends = [b"\r" + delimiter, b"\n" + delimiter]
    ahead = [body.find(end) for end in ends]
    while any(position >= 0 for position in ahead):
        first = min(position for position in ahead if position >= 0)
        yield first + 1
        ahead = [
            body.find(end, first + 1) if position == first else position
            for end, position in zip(ends, ahead, strict=True)
        ]


def _part(body: bytes | bytearray, start: int, end: int) -> tuple[bytes, int, int]:
    blank = body.find(b"\r\n\r\n", start, min(start + MAX_PART_HEADERS, end))
    if blank < 0:
        raise FormError("a part has no blank line after its headers")
    return bytes(body[start:blank]), blank + 4, end


def _read_headers(headers: bytes) -> tuple[str, bool]:
    """The name of a part's field, and whether the part is a file."""
    seen: dict[bytes, bytes] = {}
    for line in headers.split(b"\r\n"):
        match = _HEADER.fullmatch(line)
        if match is None:
            raise FormError("a part has a header that is folded or malformed")
        name = match[1].lower()
        if name in seen:
            raise FormError(f"a part has the header {name.decode()} twice")
        seen[name] = match[2].strip(b" \t")
    _check_headers(seen)
    match = _DISPOSITION.fullmatch(seen.get(b"content-disposition", b""))
    if match is None or _NAME_IN_FILENAME.search(match["filename"] or b""):
        raise FormError("a part's content-disposition could be read in more than one way")
    field = (match["quoted"] or match["name"]).decode("ascii")
    return field, match["file"] is not None or match["extended"] is not None


def _check_headers(headers: dict[bytes, bytes]) -> None:
    for name, value in headers.items():
        if name == b"content-type" and not _PART_TYPE.fullmatch(value):
            raise FormError("a part's content-type is a multipart one, or has a charset other than UTF-8")
        if name == b"content-transfer-encoding" and value.lower() not in _PLAIN_ENCODINGS:
            raise FormError("a part has a transfer encoding")
        if name == b"content-length" and not value.isdigit():
            raise FormError("a part's content-length is not a number")
        if name not in _PART_HEADERS:
            raise FormError(f"a part has the header {name.decode()}")


def _check_field(name: str, rule: Rule, *, is_file: bool, empty: bool) -> None:
    """Follows a name such as image[0][file_id] through the rule: [0] and [] are items, others are fields."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise FormError("a part's name has brackets that do not match")
    place: Place = None
    steps = [match[1], *_STEP.findall(match[2])]
    for step in steps:
        if rule.content:
            return
        place = (place, int(step or 0) if step.isdecimal() or not step else step)
        rule = _step(rule, step, place)
        if rule.stored is not None:
            check_stored("" if empty else name, rule.stored, place)
            return
    if not (rule.content or rule.value or (rule.file and is_file)):
        raise refuse_unknown(place)


def _step(rule: Rule, step: str, place: Place) -> Rule:
    if not step or step.isdecimal():
        if rule.value or rule.file:  # a list of values; and a file's field may be written image[]
            return VALUE if rule.value else rule
        found = rule.items
    elif rule.shape is not None:
        found = rule.shape.fields.get(step)
    else:
        found = rule.values
    if found is None:
        raise refuse_unknown(place)
    return found
