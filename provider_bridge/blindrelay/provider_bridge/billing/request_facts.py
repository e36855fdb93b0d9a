"""What a request says about its own cost: model, limits, and whether its response will report usage."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs, unquote

from blindrelay.provider_bridge.billing.json_members import Member, MemberReader, Wanted
from blindrelay.provider_bridge.policy.request_policy import PlannedCall
from blindrelay.provider_bridge.stateless.form_data import form_values

_WANTED: Final = Wanted(
    frozenset(
        {
            "generationConfig",
            "inferenceConfig",
            "input",
            "max_completion_tokens",
            "max_output_tokens",
            "max_tokens",
            "model",
            "n",
            "stream",
            "stream_options",
        }
    )
)
_LIMITS: Final = ("max_completion_tokens", "max_output_tokens", "max_tokens")
_NESTED_LIMITS: Final = (("generationConfig", "maxOutputTokens"), ("inferenceConfig", "maxTokens"))
_COPIES: Final = ("n", "candidateCount")

_MODEL_IN_PATH: Final = (
    re.compile(r".*/models/([^/:]+):[A-Za-z]+"),
    re.compile(r".*/deployments/([^/]+)/.*"),
    re.compile(r".*/model/(.+)/[a-z-]+"),
)
"""Gemini, Azure, Bedrock."""

_SLICE: Final = 65_536
"""Bytes that are read together. Other tasks run in between."""

_UNREPORTED: Final = frozenset({"srt", "text", "vtt"})
"""Formats of a transcription that have no place for usage."""

_MOST: Final = 1 << 32


@dataclass(frozen=True)
class RequestFacts:
    """What the bridge reads in a request.

    Attributes:
        model: as the request names it; empty if it names none.
        size: bytes of the body.
        max_output: the most tokens that it allows, 0 if it does not say.
        characters: of the text to be read aloud.
        streams: whether it asks for events.
        reports: false if the format that it asks for has no place for usage.
        options: where stream_options stands in the body, or None.
    """

    model: str
    size: int
    max_output: int = 0
    characters: int = 0
    streams: bool = False
    reports: bool = True
    options: Member | None = None


async def read_facts(call: PlannedCall, body: bytearray) -> RequestFacts:
    """The facts of a request whose body has been checked."""
    named = _model_of_url(call)
    if call.check is not None and call.check.kind == "forms":
        fields = form_values(body, call.check.boundary)
        model = named or fields.get("model", "")
        reports = fields.get("response_format", "json") not in _UNREPORTED
        return RequestFacts(model, len(body), streams=fields.get("stream") == "true", reports=reports)
    members = await _members(body)
    values: dict[str, Any] = {name: member.value for name, member in members.items()}
    return RequestFacts(
        model=named or _text(values.get("model")),
        size=len(body),
        max_output=_max_output(values),
        characters=len(_text(values.get("input"))),
        streams=values.get("stream") is True,
        options=members.get("stream_options"),
    )


@dataclass(frozen=True)
class Edit:
    """What was changed in a body, so that it can be taken back before anything else changes."""

    start: int
    end: int
    before: bytes

    @classmethod
    def make(cls, body: bytearray, start: int, end: int, text: bytes) -> Edit:
        """Puts a text in place of what is from `start` to `end`."""
        before = bytes(body[start:end])
        body[start:end] = text
        return cls(start, start + len(text), before)

    def undo(self, body: bytearray) -> None:
        body[self.start : self.end] = self.before


def ask_for_usage(body: bytearray, options: Member | None) -> Edit | None:
    """Sets stream_options.include_usage in a checked JSON body. Returns None if it was set already."""
    if options is None:
        start = body.index(b"{") + 1
        return Edit.make(body, start, start, b'"stream_options":{"include_usage":true},')
    value = options.value or {}
    if value.get("include_usage") is True:
        return None
    wanted = json.dumps({**value, "include_usage": True}, separators=(",", ":")).encode("ascii")
    return Edit.make(body, options.start, options.end, wanted)


async def _members(body: bytearray) -> Mapping[str, Member]:
    reader = MemberReader(_WANTED)
    for start in range(0, len(body), _SLICE):
        for members in reader.feed(body[start : start + _SLICE]):
            return members
        await asyncio.sleep(0)
    return {}


def _model_of_url(call: PlannedCall) -> str:
    for pattern in _MODEL_IN_PATH:
        if found := pattern.fullmatch(call.url.path):
            return unquote(found[1])
    query = parse_qs(call.url.query.removeprefix("?"))
    return (query.get("model") or [""])[0] if call.allowed.tunnel else ""


def _max_output(values: Mapping[str, Any]) -> int:
    nested = [values.get(outer) for outer, _ in _NESTED_LIMITS]
    objects = [each if isinstance(each, dict) else {} for each in nested]
    limits = [_count(values.get(name)) for name in _LIMITS]
    limits += [_count(each.get(name)) for each, (_, name) in zip(objects, _NESTED_LIMITS, strict=True)]
    copies = [_count(each.get(name)) for each in (values, *objects) for name in _COPIES]
    return max(limits) * max(1, *copies)


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST else 0


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
