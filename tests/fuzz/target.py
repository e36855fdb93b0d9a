"""A fuzz target: a decoder, the errors that it declares, and its rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field


class BrokenError(AssertionError):
    """A rule of a target does not hold."""


def check(condition: object, broken: str) -> None:
    """Raises BrokenError with the text of the rule unless it holds."""
    if not condition:
        raise BrokenError(broken)


@dataclass(frozen=True)
class Target:
    """One decoder.

    Attributes:
        decode: takes any bytes; raises one of `refusals`, or BrokenError for a broken rule.
        refusals: the errors that the decoder declares; any other error is a finding.
        seeds: inputs to begin with, in addition to the kept corpus.
        max_size: the most bytes of an input. Longer inputs find nothing new.
    """

    name: str
    decode: Callable[[bytes], None]
    refusals: tuple[type[Exception], ...]
    seeds: Callable[[], Iterable[bytes]] = field(default=tuple)
    max_size: int = 4_096

    def __call__(self, data: bytes) -> None:
        """One execution. Raises a finding."""
        try:
            self.decode(data)
        except self.refusals:
            return
