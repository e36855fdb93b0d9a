"""What a request says about its own cost: model, limits, and whether its response will report usage."""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs, unquote, unquote_plus

from blindrelay.provider_bridge.billing.apis import writes_text
from blindrelay.provider_bridge.billing.json_members import MAX_MEMBER, Member, MemberReader, Wanted
from blindrelay.provider_bridge.errors import not_allowed
from blindrelay.provider_bridge.policy.request_policy import PlannedCall
from blindrelay.provider_bridge.stateless.form_data import FormError, form_values

_WANTED: Final = Wanted(
    frozenset(
        {
            "best_of",
            "generationConfig",
            "inferenceConfig",
            "input",
            "instances",
            "max_completion_tokens",
            "max_gen_len",
            "max_new_tokens",
            "max_output_tokens",
            "max_tokens",
            "model",
            "n",
            "n_predict",
            "parameters",
            "prompt",
            "stream",
            "stream_options",
        }
    )
)
_LIMITS: Final = (
    "max_completion_tokens",
    "max_gen_len",
    "max_new_tokens",
    "max_output_tokens",
    "max_tokens",
    "n_predict",
)
_NESTED: Final = ("generationConfig", "inferenceConfig")
_NESTED_LIMITS: Final = ("maxOutputTokens", "maxTokens")
_COPIES: Final = ("n", "best_of", "candidateCount", "sampleCount")
_MAY_BE_LONG: Final = frozenset({*_NESTED, "input", "instances", "parameters", "prompt"})
_HOLD_COPIES: Final = frozenset({*_NESTED, "instances", "parameters"})
"""If one of these is too long to be read, the number of answers is not known."""

_TRUE: Final = frozenset({"1", "1.0", "on", "t", "true", "y", "yes"})
"""What servers read as true, in lower case."""

_MODEL_IN_PATH: Final = (
    re.compile(r".*/models/([^/:]+):[A-Za-z]+"),
    re.compile(r".*/deployments/([^/]+)/.*"),
    re.compile(r".*/model/(.+)/[a-z-]+"),
)
"""Gemini, Azure, Bedrock."""

_SLICE: Final = 65_536
"""Bytes that are read together. Other tasks run in between."""

_LEAVES_OUT: Final = frozenset({"$fields", "fields"})
_FORMAT: Final = frozenset({"$alt", "alt"})
_READABLE: Final = frozenset({"json", "sse"})

_UNREPORTED: Final = frozenset({"srt", "text", "vtt"})
"""Formats of a transcription that have no place for usage."""

_MOST: Final = 1 << 32


@dataclass(frozen=True)
class RequestFacts:
    """What the bridge reads in a request.

    Attributes:
        model: as the request names it; empty if it names none.
        size: bytes of the body.
        max_output: the most tokens of text that it allows; None if nothing limits them, or nothing that
            the bridge can read.
        answers: how many the request asks for; None if the bridge cannot read it.
        characters: of the text to be read aloud; None if the bridge cannot read it.
        streams: whether it asks for events.
        reports: false if the format that it asks for has no place for usage.
        options: where stream_options stands in the body, or None.
    """

    model: str
    size: int
    max_output: int | None = 0
    answers: int | None = 1
    characters: int | None = 0
    streams: bool = False
    reports: bool = True
    options: Member | None = None


async def read_facts(call: PlannedCall, body: bytearray) -> RequestFacts:
    """The facts of a request whose body has been checked. Raises RequestError if it hides them, or asks for a
    response without its report.
    """
    _check_report(call)
    named = _model_of_url(call)
    if call.check is not None and call.check.kind == "forms":
        return _facts_of_form(body, call.check.boundary, named)
    members, unread = await _members(body)
    values: dict[str, Any] = {name: member.value for name, member in members.items()}
    answers = _answers(values, unread)
    return RequestFacts(
        model=named or _text(values.get("model")),
        size=len(body),
        max_output=_max_output(values, unread, answers) if writes_text(call.url.path) else 0,
        answers=answers,
        characters=None if "input" in unread else len(_text(values.get("input"))),
        streams=str(values.get("stream")).lower() in _TRUE,
        options=members.get("stream_options"),
    )


def _facts_of_form(body: bytearray, boundary: bytes, named: str) -> RequestFacts:
    try:
        fields = form_values(body, boundary)
    except FormError as error:
        raise not_allowed(f"the form: {error}") from None
    copies = fields.get("n", "1")
    return RequestFacts(
        model=named or fields.get("model", ""),
        size=len(body),
        answers=int(copies) if re.fullmatch("[1-9][0-9]{0,5}", copies) else None,
        streams=fields.get("stream") == "true",
        reports=fields.get("response_format", "json") not in _UNREPORTED,
    )


@dataclass(frozen=True)
class Edit:
    """What was changed in a body, so that it can be taken back before anything else changes."""

    start: int
    end: int
    before: bytes

    @classmethod
    def make(cls, body: bytearray, start: int, end: int, text: bytes) -> Edit:
        """Replaces what is from `start` to `end` by a text."""
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
    value = options.value if isinstance(options.value, dict) else {}
    if value.get("include_usage") is True:
        return None
    wanted = json.dumps({**value, "include_usage": True}, separators=(",", ":")).encode("ascii")
    return Edit.make(body, options.start, options.end, wanted)


async def _members(body: bytearray) -> tuple[Mapping[str, Member], Mapping[str, bytes]]:
    """The members of the body, and those that may be too long to be read."""
    reader, members = MemberReader(_WANTED), dict[str, Member]()
    for start in range(0, len(body), _SLICE):
        for found in reader.feed(body[start : start + _SLICE]):
            members = dict(found)
        await asyncio.sleep(0)
    if hidden := reader.unread.keys() - _MAY_BE_LONG:
        raise not_allowed(
            f"{max(hidden) or 'a field'} takes more than {MAX_MEMBER:,} bytes of the body, so the bridge "
            "cannot read what the request may cost: send it without padding"
        )
    return members, reader.unread


def _check_report(call: PlannedCall) -> None:
    """Google's servers leave out what "fields" does not name, and write what is not JSON for "alt"."""
    for pair in re.split("[&;]", call.url.query.removeprefix("?")):
        name, _, value = (unquote_plus(part) for part in pair.partition("="))
        if name in _LEAVES_OUT or (name in _FORMAT and value not in _READABLE):
            raise not_allowed(
                f"{name} in the URL leaves out what the response costs: send the request without it"
            )


def _model_of_url(call: PlannedCall) -> str:
    for pattern in _MODEL_IN_PATH:
        if found := pattern.fullmatch(call.url.path):
            return unquote(found[1])
    models = parse_qs(call.url.query.removeprefix("?")).get("model", [""])
    if call.allowed.tunnel and len(models) > 1:
        raise not_allowed("the URL names more than one model: name one")
    return models[0] if call.allowed.tunnel else ""


def _answers(values: Mapping[str, Any], unread: Mapping[str, bytes]) -> int | None:
    """How many answers a body asks for: texts, or images."""
    if unread.keys() & _HOLD_COPIES:
        return None
    places = [values, *(_object(values.get(name)) for name in (*_NESTED, "parameters"))]
    instances = values.get("instances")
    several = len(instances) if isinstance(instances, list) else 1
    prompts = _prompts(values.get("prompt"), unread.get("prompt", b""))
    most = math.prod((max([1, *_counts(places, _COPIES)]), max(1, several), prompts))
    return None if math.isinf(most) else int(most)


def _max_output(values: Mapping[str, Any], unread: Mapping[str, bytes], answers: int | None) -> int | None:
    nested = [_object(values.get(name)) for name in _NESTED]
    limits = [*_counts([values], _LIMITS), *_counts(nested, _NESTED_LIMITS)]
    if answers is None or not limits or unread.keys() & set(_NESTED):
        return None
    most = max(limits) * answers
    return None if math.isinf(most) else int(most)


def _counts(places: Iterable[Mapping[str, Any]], names: tuple[str, ...]) -> list[float]:
    """The numbers under these names, infinite where one is written so that servers differ about it."""
    given = [place[name] for place in places for name in names if place.get(name) is not None]
    return [each if type(each) is int and 0 < each <= _MOST else math.inf for each in given]


def _prompts(prompt: object, beginning: bytes) -> float:
    """How many texts are to be continued: a list holds several texts, or the tokens of one."""
    if beginning == b"[":
        return math.inf
    several = isinstance(prompt, list) and any(isinstance(each, str | list) for each in prompt)
    return len(prompt) if isinstance(prompt, list) and several else 1


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
