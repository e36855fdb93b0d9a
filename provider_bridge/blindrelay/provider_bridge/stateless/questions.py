"""What a process that judges bodies is told, and what it says.

Its standard input holds the descriptions, one line of JSON, and then each question: a line of JSON and the
body. It answers each with a line: null, or the error's code and text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import BinaryIO

from blindrelay.provider_bridge.errors import RequestError
from blindrelay.provider_bridge.stateless.body_check import BodyCheck
from blindrelay.provider_bridge.stateless.description import Description


def greeting(descriptions: Mapping[str, Description]) -> bytes:
    """The descriptions by their providers' names, as the process is told them."""
    return _line({name: description.layers for name, description in descriptions.items()})


def question(check: BodyCheck, size: int) -> bytes:
    """What comes before the `size` bytes of a body."""
    return _line([check.provider, check.kind, check.path, check.boundary.decode("ascii"), size])


def read_reply(line: bytes) -> tuple[int, str] | None:
    """The error's code and text, or None if the body passes. Raises ValueError if the process has died."""
    reply = json.loads(line)
    return None if reply is None else (int(reply[0]), str(reply[1]))


def serve(questions: BinaryIO, replies: BinaryIO) -> None:
    """Answers the questions that come, one after the other."""
    layers = json.loads(questions.readline())
    descriptions = {name: Description(each) for name, each in layers.items()}
    while line := questions.readline():
        provider, kind, path, boundary, size = json.loads(line)
        check = BodyCheck(provider, kind, path, boundary.encode("ascii"))
        reply = None
        try:
            check.judge(descriptions[provider], questions.read(size))
        except RequestError as error:
            reply = (error.code, str(error))
        replies.write(_line(reply))
        replies.flush()


def _line(value: object) -> bytes:
    return json.dumps(value).encode("ascii") + b"\n"
