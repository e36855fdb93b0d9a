"""Messages that are encoded without protobuf equal those that protobuf encodes."""

import os

import pytest

from blindrelay.v1.bytes_field import bytes_field
from blindrelay.v1.exchange_messages import request_message, response_message
from blindrelay.v1.exchange_pb2 import ExchangeRequest, ExchangeResponse
from blindrelay.v1.inner_pb2 import RequestPart

SIZES = (1, 127, 128, 16_383, 16_384, 65_536, 69_632, 2_097_152)


@pytest.mark.parametrize("size", SIZES)
def test_messages_equal_protobufs(size: int) -> None:
    sealed, secret = os.urandom(size), os.urandom(1_168)
    assert response_message(sealed) == ExchangeResponse(sealed=sealed).SerializeToString()
    assert request_message(sealed) == ExchangeRequest(sealed=sealed).SerializeToString()
    first = ExchangeRequest(encapsulated_secret=secret, sealed=sealed)
    assert request_message(sealed, secret) == first.SerializeToString()


@pytest.mark.parametrize("size", [0, *SIZES])
def test_field_is_encoded_as_in_a_message(size: int) -> None:
    part = RequestPart(body=os.urandom(size))
    assert bytes_field(RequestPart.BODY_FIELD_NUMBER, part.body) == part.SerializeToString()


def test_number_over_fifteen_takes_two_bytes() -> None:
    assert bytes_field(16, b"x") == b"\x82\x01\x01x"
