"""Looks for a great many byte strings in a great many bytes, at every place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy

_KEY: Final = 8
"""Bytes of a needle by which it is looked up; what agrees in these is compared whole."""
_SLICE: Final = 8 * 1024 * 1024


class Needles:
    """Byte strings of at least 8 bytes, each under a name.

    A place is passed over if its first three bytes begin no needle, and then if its first eight do not; that
    is done for millions of places at a time. What is left is compared whole.
    """

    def __init__(self, named: Mapping[str, Iterable[bytes]]) -> None:
        import numpy

        self._by_key: dict[bytes, list[tuple[bytes, str]]] = {}
        for name, strings in named.items():
            for string in strings:
                self._by_key.setdefault(string[:_KEY], []).append((string, name))
        self._longest = max((len(each) for found in self._by_key.values() for each, _ in found), default=_KEY)
        keys = numpy.frombuffer(b"".join(self._by_key), dtype="<u8")
        self._keys = numpy.sort(keys)
        self._begins = numpy.zeros(1 << 24, dtype=bool)
        self._begins[self._keys & 0xFFFFFF] = True

    def found_in(self, data: bytes) -> set[str]:
        """The names of those of which one string is in the data."""
        return {name for _, name in self._hits(data)}

    def strings_in(self, data: bytes) -> set[bytes]:
        """The strings that are in the data."""
        return {string for string, _ in self._hits(data)}

    def _hits(self, data: bytes) -> Iterator[tuple[bytes, str]]:
        for start in range(0, len(data), _SLICE):
            piece = data[start : start + _SLICE + self._longest - 1]
            for place in self._places(piece):
                for string, name in self._by_key[piece[place : place + _KEY]]:
                    if piece.startswith(string, place):
                        yield string, name

    def _places(self, piece: bytes) -> list[int]:
        """Where the first eight bytes of a needle are."""
        import numpy

        if len(piece) < _KEY or not len(self._keys):
            return []
        octets = numpy.frombuffer(piece, dtype=numpy.uint8)
        found = []
        for offset in range(4):
            # Four bytes from each fourth place on, seen as a number; three of them are looked up.
            count = (len(piece) - _KEY - offset) // 4 + 1
            words = numpy.frombuffer(piece, dtype="<u4", count=max(0, count), offset=offset)
            places = numpy.flatnonzero(self._begins[words & 0xFFFFFF]) * 4 + offset
            found += [int(place) for place in places[self._are_keys(octets, places)]]
        return found

    def _are_keys(self, octets: numpy.ndarray[Any, Any], places: numpy.ndarray[Any, Any]) -> Any:
        import numpy

        values = numpy.zeros(len(places), dtype=numpy.uint64)
        for offset in range(_KEY):
            values |= octets[places + offset].astype(numpy.uint64) << numpy.uint64(8 * offset)
        nearest = numpy.searchsorted(self._keys, values)
        nearest[nearest == len(self._keys)] = 0
        return self._keys[nearest] == values
