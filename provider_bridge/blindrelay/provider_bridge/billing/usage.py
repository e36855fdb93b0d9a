"""What a provider reports about one exchange, noted while its response passes (annex E.3)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

from blindrelay.provider_bridge.billing.amazon_stream import AmazonPayloads
from blindrelay.provider_bridge.billing.json_members import Member, MemberReader, Wanted
from blindrelay.provider_bridge.billing.usage_counts import Counts, counts_of

MAX_BLOCK: Final = 8_192
"""The most bytes of an event that is held until it is complete. One with usage alone has a few hundred."""

_OWN: Final = ("usage", "usageMetadata", "meta")
_WITHIN: Final = ("response", "message", "delta")
_COUNTERS: Final = ("prompt_eval_count", "eval_count", "duration")
"""Ollama's, and the seconds of a transcription: members that are a report by themselves."""

_WANTED: Final = Wanted(
    frozenset({*_OWN, *_COUNTERS, "type", "model", "modelVersion", "service_tier", "choices", "done"})
    | {f"{within}.{name}" for within in _WITHIN for name in ("usage", "model", "service_tier")},
    frozenset(_WITHIN),
)
_REPORTS: Final = (*(f"{within}.usage" for within in _WITHIN), *_OWN)
_MODELS: Final = ("response.model", "message.model", "model", "modelVersion")
_TIERS: Final = ("response.service_tier", "message.service_tier", "service_tier")
_ORDINARY_TIERS: Final = frozenset({"auto", "default", "standard", "on_demand"})

_BLANK_LINE: Final = re.compile(rb"\r\n\r\n|\n\n|\r\r")


class Usage:
    """The reports of one exchange.

    Attributes:
        model: as the provider named it last; empty if it did not.
        tier: a service tier other than the ordinary one, or empty.
        deltas: events with output since the last report.
        reports: how many there were.
    """

    def __init__(self, *, adds: bool = False) -> None:
        """With `adds`, each report counts a response of its own, as in a tunnel. Otherwise later reports
        complete earlier ones.
        """
        self.model = ""
        self.tier = ""
        self.deltas = 0
        self.reports = 0
        self._adds = adds
        self._report: dict[str, Any] = {}
        self._sum: Counts = Counter()

    @property
    def reported(self) -> bool:
        """Whether there was a report."""
        return self.reports > 0

    @property
    def counts(self) -> Counts:
        """What has been reported so far."""
        return Counter(self._sum) if self._adds else counts_of(self._report)

    def note(self, members: Mapping[str, Member]) -> None:
        """Notes one JSON object of the response: its body, an event, or a message."""
        values = {name: member.value for name, member in members.items()}
        self.model = _text(values, _MODELS) or self.model
        report = _report(values)
        tier = _text(values, _TIERS) or _text(report, ("service_tier", "speed"))
        self.tier = "" if tier in _ORDINARY_TIERS else tier or self.tier
        if report:
            self._add(report)
        elif str(values.get("type", "")).endswith("delta") or values.get("choices") or _goes_on(values):
            self.deltas += 1

    def _add(self, report: Mapping[str, Any]) -> None:
        self.reports += 1
        self.deltas = 0
        if self._adds:
            self._sum += counts_of(report)
        else:
            self._report.update({name: value for name, value in report.items() if value is not None})


class UsageTap:
    """Notes the usage in a response's bytes, which pass unchanged.

    With `framed`, they are an Amazon event stream. With `removes`, an event that holds usage alone does not
    pass: the bridge asked for it, not the client.

    Attributes:
        held: bytes of an event that is not complete.
        removed: whether such an event was kept back.
    """

    def __init__(
        self,
        usage: Usage,
        on_fault: Callable[[Exception], None],
        *,
        removes: bool = False,
        framed: bool = False,
    ) -> None:
        self._usage = usage
        self._on_fault = on_fault
        self._broken = False
        self._reader = MemberReader(_WANTED)
        self._payloads = AmazonPayloads() if framed else None
        self._removes = removes
        self._held = bytearray()
        self._block_begun = False
        self.removed = False

    @property
    def held(self) -> int:
        return len(self._held)

    def take(self, data: bytes) -> bytes:
        """The bytes that may pass now that these have come."""
        if not self._removes:
            self._note(data)
            return data
        self._held += data
        passing = b"".join(self._whole_blocks())
        return passing + self.rest() if len(self._held) > MAX_BLOCK else passing

    def rest(self) -> bytes:
        """Returns what is held, which passes after all."""
        rest = bytes(self._held)
        self._held.clear()
        self._note(rest)
        self._block_begun = bool(rest)
        return rest

    def _whole_blocks(self) -> list[bytes]:
        blocks, start = [], 0
        for blank in _BLANK_LINE.finditer(self._held):
            block = bytes(self._held[start : blank.end()])
            start = blank.end()
            if self._note(block) and not self._block_begun:
                self.removed = True
            else:
                blocks.append(block)
            self._block_begun = False
        del self._held[:start]
        return blocks

    def _note(self, data: bytes) -> bool:
        """Whether it is one event with usage alone. A fault costs the report, and never the response."""
        if self._broken:
            return False
        try:
            pieces = [data] if self._payloads is None else self._payloads.feed(data)
            events = [event for piece in pieces for event in self._reader.feed(piece)]
            for event in events:
                self._usage.note(event)
        except Exception as fault:
            self._broken = True
            self._on_fault(fault)
            return False
        return len(events) == 1 and _is_usage_alone(events[0])


def _is_usage_alone(event: Mapping[str, Member]) -> bool:
    return (
        "choices" in event
        and event["choices"].value == []
        and "usage" in event
        and isinstance(event["usage"].value, dict)
    )


def _goes_on(values: Mapping[str, Any]) -> bool:
    """Whether it is a line of Ollama's, and not the last."""
    return values.get("done") is False


def _report(values: Mapping[str, Any]) -> dict[str, Any]:
    for name in _REPORTS:
        if isinstance(values.get(name), dict):
            return dict(values[name])
    return {name: values[name] for name in _COUNTERS if values.get(name) is not None}


def _text(values: Mapping[str, Any], names: tuple[str, ...]) -> str:
    return next((values[name] for name in names if isinstance(values.get(name), str)), "")
