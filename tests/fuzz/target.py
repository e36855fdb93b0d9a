"""What is fuzzed: a decoder, the errors it declares, and what else must hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field


class BrokenError(AssertionError):
    """An input was taken in a way that the protocol rules out."""


def check(condition: object, broken: str) -> None:
    """Raises BrokenError with the rule that is broken."""
    if not condition:
        raise BrokenError(broken)


@dataclass(frozen=True)
class Target:
    """One decoder.

    Attributes:
        decode: takes any bytes; raises one of `refusals`, or BrokenError for a rule that does not hold.
        refusals: the errors that the decoder declares; any other is a finding.
        seeds: inputs to begin with, beside the kept corpus.
        max_size: bytes of an input at most; longer ones find nothing that shorter ones do not.
    """

    name: str
    decode: Callable[[bytes], None]
    refusals: tuple[type[Exception], ...]
    seeds: Callable[[], Iterable[bytes]] = field(default=tuple)
    max_size: int = 4_096

    def __call__(self, data: bytes) -> None:
        """One execution. Raises whatever is a finding."""
        try:
            self.decode(data)
        except self.refusals:
            return
