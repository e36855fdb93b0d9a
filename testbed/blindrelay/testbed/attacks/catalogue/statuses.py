"""Attacks with outer statuses: each one forged, at each moment of an exchange."""

from __future__ import annotations

from functools import partial
from itertools import count
from typing import Final

import grpc

from blindrelay.testbed.attacks.alterations import Alteration, cut_after
from blindrelay.testbed.attacks.attack import SEALED_AGAIN, SECOND_CALL, SHORT_RESPONSE, Attack
from blindrelay.testbed.attacks.doubles.bridge import without_claim
from blindrelay.testbed.attacks.doubles.client import without_final, without_reseal_rule
from blindrelay.testbed.attacks.relay import EndedError, Hook, Messages, Passage
from blindrelay.testbed.attacks.victim import STREAM, UNSHAPED
from blindrelay.v1.exchange_pb2 import GetKeyDirectoryResponse
from blindrelay.v1.keys_pb2 import SignedKeyDirectory
from blindrelay.v1.outer_status import OuterStatus

Status = tuple[grpc.StatusCode, str]

_OK: Final = (grpc.StatusCode.OK, "")
_FINAL: Final = "required tail and FINAL"

_FORGED: Final[dict[str, Status]] = {
    **{status.details.replace("_", "-"): status.value for status in OuterStatus},
    "unheard-of": (grpc.StatusCode.UNKNOWN, "anything"),
}


class Forgery(Hook):
    """The first exchange ends with a status; those after it are carried honestly.

    `moment` is "at-once", before anything is passed on, or "after-run", when the bridge has begun to answer.
    """

    def __init__(self, status: Status, moment: str) -> None:
        super().__init__(down=self._denied)
        self._end = EndedError(*status)
        self._moment = moment

    async def carry(self, passage: Passage) -> None:
        if passage.number == 0 and self._moment == "at-once":
            raise self._end
        await passage.forward()

    async def _denied(self, passage: Passage, messages: Messages) -> Messages:
        async for message in messages:
            if passage.number == 0:
                raise self._end
            yield message


class DenyTheLease(Forgery):
    """The relay gives leases. It runs the first exchange, hides the response, and does not know the lease."""

    def __init__(self) -> None:
        super().__init__(OuterStatus.LEASE_UNKNOWN.value, "after-run")
        self.directories = self._with_lease
        self._leases = count()

    def _with_lease(self, signed: list[SignedKeyDirectory]) -> bytes:
        lease = f"lease-{next(self._leases)}"
        return GetKeyDirectoryResponse(directories=signed, lease=lease, lease_seconds=300).SerializeToString()


def _broken_off(status: Status) -> Alteration:
    return cut_after(1, EndedError(*status))


# fmt: off
def _attacks(name: str, status: Status) -> list[Attack]:
    end = f"RelayError {'relay_lost' if OuterStatus.of(*status) is None else status[1]}"
    rule = "sealing again only after a restart"
    return [
        Attack(f"forge-{name}-at-once", f"The relay says {name} before it passes anything on.",
               partial(Forgery, status, "at-once"), (end,), 0,
               rule, without_reseal_rule, SEALED_AGAIN),
        Attack(f"forge-{name}-after-run", f"The exchange runs, its response is hidden, and {name} is said.",
               partial(Forgery, status, "after-run"), (end,), 1,
               rule, without_reseal_rule, SECOND_CALL),
        Attack(f"forge-{name}-mid-answer", f"The relay says {name} when a part of the response has passed.",
               partial(Hook, down=_broken_off(status)), ("CutResponseError",), 1,
               _FINAL, without_final, SHORT_RESPONSE, asks=(STREAM,), options=UNSHAPED),
    ]


STATUS_ATTACKS: Final = [
    *(attack for name, status in _FORGED.items() for attack in _attacks(name, status)),
    Attack("run-and-deny-the-lease", "The exchange runs, its response is hidden, and its lease is denied.",
           DenyTheLease, ("RelayError refused",), 1,
           "the claim", without_claim, SECOND_CALL, sent_again=1),
    Attack("forge-ok-at-once", "The relay says OK, and nothing else.",
           partial(Forgery, _OK, "at-once"), ("CutResponseError",), 0, _FINAL, without_final, SHORT_RESPONSE),
    Attack("forge-ok-after-run", "The exchange runs, its response is hidden, and OK is said.",
           partial(Forgery, _OK, "after-run"), ("CutResponseError",), 1,
           _FINAL, without_final, SHORT_RESPONSE),
    Attack("forge-ok-mid-answer", "The relay says OK when a part of the response has passed.",
           partial(Hook, down=_broken_off(_OK)), ("CutResponseError",), 1,
           _FINAL, without_final, SHORT_RESPONSE, asks=(STREAM,), options=UNSHAPED),
]
# fmt: on
