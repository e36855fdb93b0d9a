"""Request bodies of the shapes that take longest to judge, of any size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

LARGEST: Final = 33_554_432
"""Bytes. What a bridge takes of one request, unless it is told otherwise."""

CHAT: Final = "/v1/chat/completions"
FORM: Final = "/v1/audio/transcriptions"
_PART: Final = b"--b\r\nContent-Disposition: form-data; "
_FILE: Final = _PART + b'name="file"; filename="x"\r\n\r\n'
_END: Final = b"\r\n--b--\r\n"


def _filled(begin: bytes, piece: bytes, end: bytes) -> Callable[[int], bytes]:
    return lambda size: begin + piece * max(1, (size - len(begin) - len(end)) // len(piece)) + end


def _numbered(begin: bytes, piece: bytes, size: int) -> bytes:
    return begin + b",".join(piece % number for number in range(size // (len(piece) + 6))) + b"}}"


SHAPES: Final[dict[str, tuple[str, str, Callable[[int], bytes]]]] = {
    name: ("forms" if path == FORM else "bodies", path, make)
    for name, path, make in (
        ("one string", CHAT, _filled(b'{"user":"', b"a", b'"}')),
        ("escapes", CHAT, _filled(b'{"user":"', b"\\n", b'"}')),
        ("unicode escapes", CHAT, _filled(b'{"user":"', b"\\u00e9", b'"}')),
        ("emoji", CHAT, _filled(b'{"user":"', "😀".encode(), b'"}')),
        ("numbers", CHAT, _filled(b'{"stop":[1', b",1.5e5", b"]}")),
        ("long numbers", CHAT, _filled(b'{"stop":[1', b"," + b"9" * 4_000, b"]}")),
        ("messages", CHAT, _filled(b'{"messages":[{"role":"user"}', b',{"role":"user"}', b"]}")),
        ("objects", CHAT, _filled(b'{"metadata":[{}', b",{}", b"]}")),
        ("keys", CHAT, lambda size: _numbered(b'{"metadata":{', b'"%x":1', size)),
        ("one key", CHAT, _filled(b'{"metadata":{"a":1', b',"a":1', b"}}")),
        ("depth", CHAT, _filled(b'{"metadata":', b"[", b"]}")),
        ("depth again and again", CHAT, _filled(b'{"stop":[1', b"," + b"[" * 900 + b"]" * 900, b"]}")),
        ("space", CHAT, _filled(b"{", b" ", b"}")),
        ("file", FORM, _filled(_FILE, b"a", _END)),
        ("lines in a file", FORM, _filled(_FILE, b"\r\n-", _END)),
        ("parts", FORM, _filled(b"", _PART + b'name="model"\r\n\r\nx\r\n', b"--b--\r\n")),
        (
            "part headers",
            FORM,
            _filled(b"", _PART + b'name="' + b"; " * 2_000 + b'"\r\n\r\nx\r\n', b"--b--\r\n"),
        ),
    )
}
"""By name: the kind of body, its path at OpenAI, and what makes one of about so many bytes."""
