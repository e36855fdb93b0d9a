"""Attacks with gRPC messages: oversize, malformed and compressed, to either side."""

from __future__ import annotations

from functools import partial
from typing import Final

from blindrelay.testbed.attacks.alterations import at, replace_all, swollen
from blindrelay.testbed.attacks.attack import TOLD, UNNOTICED, UNTYPED, Attack
from blindrelay.testbed.attacks.doubles.wire import (
    with_compression,
    without_size_limits,
    without_typed_errors,
)
from blindrelay.testbed.attacks.relay import Hook
from blindrelay.v1.limits import MAX_MESSAGE_SIZE

_LOST: Final = "RelayError relay_lost"
_GARBAGE: Final = b"\xff" * 64
_OVERSIZE: Final = swollen(2 * MAX_MESSAGE_SIZE)
_LIMIT: Final = "gRPC's message limit"

# fmt: off
MESSAGE_ATTACKS: Final = [
    Attack("oversize-to-client", "A message of the response is 256 KiB larger than it was.",
           partial(Hook, down=_OVERSIZE), (_LOST,), 1, _LIMIT, without_size_limits, UNNOTICED),
    Attack("oversize-to-bridge", "A message of the request is 256 KiB larger than it was.",
           partial(Hook, up=_OVERSIZE), (_LOST,), 0, _LIMIT, without_size_limits, UNNOTICED),
    Attack("malformed-to-client", "What the client gets is no message.",
           partial(Hook, down=replace_all(_GARBAGE)), ("AlteredResponseError",), 1,
           "typed errors", without_typed_errors, UNTYPED),
    Attack("malformed-to-bridge", "What the bridge gets is no message.",
           partial(Hook, up=at(0, lambda message: [_GARBAGE])), ("RelayError refused",), 0,
           "one refusal for all causes", without_typed_errors, TOLD),
    Attack("compressed-to-client", "The messages of the response are compressed.",
           partial(Hook, compress_down=True), (_LOST,), 1, "no compression", with_compression, UNNOTICED),
    Attack("compressed-to-bridge", "The messages of the request are compressed.",
           partial(Hook, compress_up=True), (_LOST,), 0, "no compression", with_compression, UNNOTICED),
]
# fmt: on
