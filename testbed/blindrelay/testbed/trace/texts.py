"""Texts to replay: what a provider says in each exchange, in pieces, and the gap before each piece."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args

from blindrelay.testbed.errors import InputError

Ending = Literal["stop", "length", "error", "cut", "refused"]
"""How a response ends: as it should, at a limit of tokens, or in one of three failures."""

FAILURES: Final[frozenset[Ending]] = frozenset({"error", "cut", "refused"})

_PIECE: Final = re.compile(r"\s*\S+")


@dataclass(frozen=True)
class Replay:
    """One response to replay.

    Attributes:
        label: any JSON value; it comes back with the trace.
        text: what the provider says.
        gaps: milliseconds before each piece of it.
        ending: "error" is an error of the provider in place of the text, "cut" is half of the text, and
            "refused" is an error of the bridge, which does not ask the provider.
    """

    label: Any
    text: str
    gaps: tuple[float, ...]
    ending: Ending = "stop"

    def as_json(self) -> str:
        """The line that read_texts() reads."""
        fields = {"label": self.label, "text": self.text, "gaps": self.gaps, "ending": self.ending}
        return json.dumps(fields)


def pieces(text: str) -> list[str]:
    """The text in pieces: each is some white space and a word. White space at the end belongs to the last."""
    found = _PIECE.findall(text)
    rest = text[sum(map(len, found)) :]
    if found:
        found[-1] += rest
    return found or ([rest] if rest else [])


def read_texts(path: Path) -> list[Replay]:
    """Reads one JSON object a line. Raises InputError, which names the line."""
    try:
        lines = path.read_text("utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", "it is not UTF-8")
        raise InputError(f"{path} cannot be read: {why}") from None
    replays = [
        _replay(line, f"{path}, line {number}") for number, line in enumerate(lines, 1) if line.strip()
    ]
    if not replays:
        raise InputError(f"{path} has no texts: it needs one JSON object a line, with label, text and gaps")
    return replays


def write_texts(replays: Iterable[Replay], path: Path) -> None:
    """Writes what read_texts() reads."""
    path.write_text("".join(replay.as_json() + "\n" for replay in replays), "utf-8")


def _replay(line: str, where: str) -> Replay:
    try:
        given = json.loads(line)
    except (json.JSONDecodeError, RecursionError):
        raise InputError(f"{where}: this is not JSON") from None
    if not isinstance(given, dict) or not {"label", "text", "gaps"} <= given.keys():
        raise InputError(f"{where}: an object with label, text and gaps is needed")
    ending = given.get("ending", "stop")
    if ending not in get_args(Ending):
        raise InputError(f"{where}: ending must be one of {', '.join(get_args(Ending))}")
    text = given["text"]
    if not isinstance(text, str) or not _is_unicode(text):
        raise InputError(f"{where}: text must be a string of Unicode characters")
    return Replay(given["label"], text, _gaps(given["gaps"], text, where), ending)


def _gaps(given: object, text: str, where: str) -> tuple[float, ...]:
    if not isinstance(given, list) or not all(map(_is_gap, given)):
        raise InputError(f"{where}: gaps must be a list of milliseconds, each from 0 on")
    count = len(pieces(text))
    if len(given) != count:
        raise InputError(f"{where}: the text has {count} pieces and {len(given)} gaps; each piece needs one")
    return tuple(map(float, given))


def _is_gap(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) and 0 <= value <= 86_400_000


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
