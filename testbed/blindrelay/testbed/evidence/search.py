"""Looks for a great many byte strings, and parts of them, in a great many bytes, at every place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy

_KEY: Final = 8
"""Bytes of a needle by which it is looked up; from there it is compared in both directions."""
_MAX_HASH_BITS: Final = 22
_ODD: Final = 0x9E3779B97F4A7C15
"""Knuth's multiplier (The Art of Computer Programming, section 6.4): its upper bits scatter any keys."""
_AT_ONCE: Final = 1024 * 1024
"""Places that are looked at at a time: what that takes stays in the processor's cache."""


@dataclass(frozen=True)
class _Spot:
    """One key of a needle, where in it that is, and how many bytes in a row of it count."""

    name: str
    needle: bytes
    at: int
    run: int


class Needles:
    """Byte strings of at least 8 bytes, under names that several may share.

    Found is a needle of which `run` bytes in a row are there, or the whole if it is shorter. Of each needle
    only every (run - 7)th eight bytes are looked up: any `run` bytes of it have one of these in them.
    """

    def __init__(self, named: Mapping[str, Iterable[bytes]], run: int | Callable[[bytes], int]) -> None:
        import numpy

        spots: dict[bytes, list[_Spot]] = {}
        for name, needles in named.items():
            for needle in needles:
                enough = min(run(needle) if callable(run) else run, len(needle))
                for at in range(0, len(needle) - _KEY + 1, max(1, enough - _KEY + 1)):
                    spots.setdefault(needle[at : at + _KEY], []).append(_Spot(name, needle, at, enough))
        keys = numpy.frombuffer(b"".join(spots), dtype="<u8")
        order = numpy.argsort(keys)
        self._keys, lists = keys[order], list(spots.values())
        self._spots = [lists[each] for each in order]
        self._longest = max((len(spot.needle) for found in lists for spot in found), default=_KEY)
        self._hash_bits = min((16 * len(keys)).bit_length(), _MAX_HASH_BITS)
        self._may_begin = numpy.zeros(1 << self._hash_bits, dtype=bool)
        self._may_begin[self._hashed(self._keys)] = True

    def found_in(self, data: bytes) -> set[str]:
        """The names of which a needle is in the data."""
        found: set[str] = set()
        for start in range(0, len(data), _AT_ONCE):
            for key, places in self._keys_in(data, start):
                for spot in self._spots[key]:
                    if spot.name not in found and any(self._is_at(data, place, spot) for place in places):
                        found.add(spot.name)
        return found

    def _keys_in(self, data: bytes, start: int) -> Iterator[tuple[int, list[int]]]:
        """Which of the keys begin in the _AT_ONCE bytes from `start`, and where."""
        import numpy

        if not numpy.frombuffer(data[start : start + _AT_ONCE + _KEY], dtype=numpy.uint8).any():
            return  # memory that nobody has touched
        for offset in range(start, min(start + _KEY, len(data) - _KEY + 1)):
            piece = data[offset : offset + _AT_ONCE]  # a copy, and so aligned: twice as fast
            words = numpy.frombuffer(piece, dtype="<u8", count=len(piece) // _KEY)
            likely = numpy.flatnonzero(self._may_begin.take(self._hashed(words)))
            if len(likely):
                nearest = numpy.searchsorted(self._keys, words[likely])
                nearest[nearest == len(self._keys)] = 0
                right = self._keys[nearest] == words[likely]
                if right.any():
                    yield from _gathered(nearest[right], likely[right] * _KEY + offset)

    def _hashed(self, words: numpy.ndarray[Any, Any]) -> Any:
        import numpy

        return ((words * numpy.uint64(_ODD)) >> numpy.uint64(64 - self._hash_bits)).view(numpy.int64)

    def _is_at(self, data: bytes, place: int, spot: _Spot) -> bool:
        """Whether around that place, where the key is, there is enough of the needle."""
        needle, before, after = spot.needle, spot.at, spot.at + _KEY
        while before and place and needle[before - 1] == data[place - 1]:
            before, place = before - 1, place - 1
        end = place + after - before
        while after < len(needle) and end < len(data) and needle[after] == data[end]:
            after, end = after + 1, end + 1
        return after - before >= spot.run


def _gathered(keys: Any, places: Any) -> Iterator[tuple[int, list[int]]]:
    """Each key once, with all its places."""
    import numpy

    order = numpy.argsort(keys, kind="stable")
    distinct, firsts = numpy.unique(keys[order], return_index=True)
    for key, of_key in zip(distinct, numpy.split(places[order], firsts[1:]), strict=True):
        yield int(key), [int(place) for place in of_key]
