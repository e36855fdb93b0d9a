"""A process's memory, read from outside: every mapping that can be read, as it is then (proc(5))."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_LINE: Final = re.compile(r"([0-9a-f]+)-([0-9a-f]+) r\S* \S+ \S+ \S+ *(.*)")
_NOT_MEMORY: Final = ("[vvar]", "[vsyscall]")
_AT_ONCE: Final = 64 * 1024 * 1024


def memory_of(pid: int, *, only_its_own: bool = False) -> Iterator[bytes]:
    """Each mapping's bytes, large ones in pieces that overlap by 64 bytes. Raises PermissionError.

    With `only_its_own` without those that the process cannot write, which are as the files that they are of.
    """
    process = Path("/proc", str(pid))
    lines = (process / "maps").read_text().splitlines()
    with (process / "mem").open("rb", buffering=0) as memory:
        for line in lines:
            match = _LINE.match(line)
            if match is None or match[3] in _NOT_MEMORY or (only_its_own and " r-" in line):
                continue
            start, end = int(match[1], 16), int(match[2], 16)
            for at in range(start, end, _AT_ONCE):
                try:
                    memory.seek(at)
                    data = memory.read(min(_AT_ONCE + 64, end - at))
                except (OSError, ValueError):
                    continue  # gone meanwhile, or a device's
                if data:
                    yield data
