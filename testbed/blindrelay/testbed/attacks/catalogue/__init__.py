"""All attacks, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Final, TypeVar

from blindrelay.testbed.attacks.attack import Attack
from blindrelay.testbed.attacks.catalogue.directories import DIRECTORY_ATTACKS
from blindrelay.testbed.attacks.catalogue.envelopes import ENVELOPE_ATTACKS
from blindrelay.testbed.attacks.catalogue.exchanges import EXCHANGE_ATTACKS
from blindrelay.testbed.attacks.catalogue.messages import MESSAGE_ATTACKS
from blindrelay.testbed.attacks.catalogue.records import REQUEST_ATTACKS, RESPONSE_ATTACKS
from blindrelay.testbed.attacks.catalogue.statuses import STATUS_ATTACKS
from blindrelay.testbed.attacks.catalogue.timing import TIME_ATTACKS
from blindrelay.testbed.errors import UnavailableError

T = TypeVar("T")

ATTACKS: Final[tuple[Attack, ...]] = (
    *RESPONSE_ATTACKS,
    *REQUEST_ATTACKS,
    *EXCHANGE_ATTACKS,
    *DIRECTORY_ATTACKS,
    *ENVELOPE_ATTACKS,
    *STATUS_ATTACKS,
    *TIME_ATTACKS,
    *MESSAGE_ATTACKS,
)
"""In the order in which they are shown."""


def attacks_named(names: Sequence[str]) -> list[Attack]:
    """The attacks on exchanges of these names. Raises UnavailableError for an unknown one."""
    return named(names, {attack.name: attack for attack in ATTACKS})


def named(names: Sequence[str], known: Mapping[str, T]) -> list[T]:
    """What has these names. Raises UnavailableError, with the nearest names, for an unknown one."""
    for name in names:
        if name not in known:
            near = get_close_matches(name, known)
            hint = f"near it: {', '.join(near)}" if near else "attack --list shows them all"
            raise UnavailableError(f"there is no attack {name!r}; {hint}")
    return [known[name] for name in names]
