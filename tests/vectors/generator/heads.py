"""Scenarios of a request's head, as a bridge judges it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from generator.directions import REQUEST_HEAD
from generator.primitives import encode
from generator.scenario import Scenario

from blindrelay.v1.inner_pb2 import CREDENTIAL_BROUGHT, Header, RequestHead, Shaping
from blindrelay.v1.receipts_pb2 import ROUNDING_EXACT


def scenarios() -> Iterator[Scenario]:
    yield from _headers()
    yield from _fields()


def _head(**changes: Any) -> RequestHead:
    """Alice's head with other fields, and with a credential that she brings, so that any header may pass."""
    fields = {field.name: value for field, value in REQUEST_HEAD.ListFields()}
    return RequestHead(**fields | {"credential": CREDENTIAL_BROUGHT} | changes)


def _scenario(name: str, comment: str, expect: str, head: RequestHead) -> Scenario:
    return Scenario("head", name, comment, expect, {"head": encode(head)})


def _headers() -> Iterator[Scenario]:
    def many(count: int) -> RequestHead:
        return _head(headers=[Header(name=b"x-%d" % number, value=b"") for number in range(count)])

    yield _scenario("headers_64", "64 headers.", "accept", many(64))
    yield _scenario("headers_65", "65 headers.", "not_allowed", many(65))
    refused = {
        "name_in_capitals": ("A name in capitals.", b"X-Custom", b"1"),
        "name_empty": ("A name of no bytes.", b"", b"1"),
        "name_with_space": ("A name with a space.", b"x custom", b"1"),
        "value_with_line_feed": ("A value with a line feed.", b"x-custom", b"1\nx-other: 2"),
        "value_with_carriage_return": ("A value with a carriage return.", b"x-custom", b"1\r"),
        "value_with_nul": ("A value with a zero byte.", b"x-custom", b"1\x00"),
    }
    for name, (comment, header, value) in refused.items():
        head = _head(headers=[Header(name=header, value=value)])
        yield _scenario(f"header_{name}", comment, "not_allowed", head)


def _fields() -> Iterator[Scenario]:
    yield _scenario("deadline_unspecified", "It means 3,600 seconds.", "accept", _head(deadline_class=0))
    yield _scenario("shaping_off", "A shaping profile that changes nothing.", "accept", _shaped(1))
    yield _scenario("price_table_hash", "A price table.", "accept", _head(price_table_hash=bytes(32)))
    yield _scenario("rounding", "Exact units.", "accept", _head(rounding=ROUNDING_EXACT))
    malformed: dict[str, tuple[str, dict[str, Any]]] = {
        "kind_unspecified": ("Neither an exchange nor a tunnel.", {"kind": 0}),
        "kind_unknown": ("A kind of a later version.", {"kind": 3}),
        "credential_unspecified": ("Nobody says whose credential it is.", {"credential": 0}),
        "price_table_hash_short": ("A hash of 31 bytes.", {"price_table_hash": bytes(31)}),
        "deadline_unknown": ("A class of a later version.", {"deadline_class": 5}),
    }
    for name, (comment, changes) in malformed.items():
        yield _scenario(name, comment, "malformed", _head(**changes))
    unsupported = {
        "retry_token": ("A retry token.", _head(retry_token=b"again")),
        "on_disconnect": ("To continue without its client.", _head(on_disconnect=2)),
        "rounding_unknown": ("A rounding of a later version.", _head(rounding=3)),
        "shaping": ("A shaping profile that is not of this version.", _shaped(4)),
    }
    for name, (comment, head) in unsupported.items():
        yield _scenario(name, comment, "unsupported", head)


def _shaped(profile: int) -> RequestHead:
    return _head(shaping=Shaping(profile=profile))  # type: ignore[arg-type]
