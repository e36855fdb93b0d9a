"""What the process that checks bodies does (__main__.py), and the messages between it and the bridge.

Its standard input holds one line of JSON with the descriptions, then the requests. Each is a line of JSON and
the body. It replies with a line: null, or the error's code and text. It ends when its input ends.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import BinaryIO

from blindrelay.provider_bridge.errors import RequestError
from blindrelay.provider_bridge.stateless.body_check import BodyCheck
from blindrelay.provider_bridge.stateless.description import Description


def greeting(descriptions: Mapping[str, Description]) -> bytes:
    """The first line: the descriptions, by provider name."""
    return _line({name: description.layers for name, description in descriptions.items()})


def request_line(check: BodyCheck, size: int) -> bytes:
    """The line before a body of `size` bytes."""
    return _line([check.provider, check.kind, check.path, check.boundary.decode("ascii"), size])


def read_reply(line: bytes) -> tuple[int, str] | None:
    """The error's code and text, or None if the body passes. Raises ValueError if the process has died."""
    reply = json.loads(line)
    return None if reply is None else (int(reply[0]), str(reply[1]))


def serve(requests: BinaryIO, replies: BinaryIO) -> None:
    """Checks one body after the other."""
    layers = json.loads(requests.readline())
    descriptions = {name: Description(each) for name, each in layers.items()}
    while line := requests.readline():
        provider, kind, path, boundary, size = json.loads(line)
        check = BodyCheck(provider, kind, path, boundary.encode("ascii"))
        reply = None
        try:
            check.apply(descriptions[provider], requests.read(size))
        except RequestError as error:
            reply = (error.code, str(error))
        replies.write(_line(reply))
        replies.flush()


def _line(value: object) -> bytes:
    return json.dumps(value).encode("ascii") + b"\n"
