"""What holds of our relay besides what is searched: a sentence each, and whether it is so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from blindrelay.testbed.evidence.read_only import writable_mounts_of
from blindrelay.testbed.evidence.traces import (
    bytes_written_of,
    is_confined,
    swapped_of,
    written_files_of,
)

BY_ENVOY: Final = (
    "Envoy and its control process write the files that they share, and have no sandbox; "
    "Envoy does not overwrite the sealed bytes in memory that it frees"
)

ENVOYS_STATISTICS: Final = "/dev/shm/envoy_shared_memory_"
"""Shared memory in which Envoy counts. It is searched as memory."""

Facts = list[tuple[str, bool]]


def what_confines(relay: int) -> Facts:
    """Of a relay that is started with nowhere to write to."""
    return [
        ("every file system is mounted read-only for the relay", not writable_mounts_of(relay)),
        ("it is in a sandbox that lets it write no file and run no program", is_confined(relay)),
        ("it has written nothing to storage since it began", bytes_written_of(relay) == 0),
    ]


def what_is_left(relays: Sequence[int], *, unchanged: bool) -> Facts:
    """Of its processes. `unchanged` says whether its folders have the files that they had before."""
    written = [name for pid in relays for name in written_files_of(pid)]
    return [
        ("it has no file open for writing", all(name.startswith(ENVOYS_STATISTICS) for name in written)),
        ("no file has appeared or changed in its folder and where it works", unchanged),
        ("none of its memory is on a swap device", not any(map(swapped_of, relays))),
    ]
