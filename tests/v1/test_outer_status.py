"""The outer statuses: a closed list of constant words."""

from __future__ import annotations

import grpc
import pytest

from blindrelay.v1.outer_status import OuterStatus

# As in spec/protocol.md, section 12.
LISTED = {
    "refused": grpc.StatusCode.INVALID_ARGUMENT,
    "key_unknown": grpc.StatusCode.FAILED_PRECONDITION,
    "malformed": grpc.StatusCode.INVALID_ARGUMENT,
    "token_unknown": grpc.StatusCode.UNAUTHENTICATED,
    "identity_unknown": grpc.StatusCode.NOT_FOUND,
    "bridge_unavailable": grpc.StatusCode.UNAVAILABLE,
    "draining": grpc.StatusCode.UNAVAILABLE,
    "overloaded": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "deadline": grpc.StatusCode.DEADLINE_EXCEEDED,
    "internal": grpc.StatusCode.INTERNAL,
}


def test_list_is_that_of_the_specification() -> None:
    assert {status.details: status.code for status in OuterStatus} == LISTED
    assert len(LISTED) == len(OuterStatus)


@pytest.mark.parametrize("status", OuterStatus)
def test_status_is_recognised_by_code_and_message_together(status: OuterStatus) -> None:
    other_words = (None, "", status.details.title(), f"{status.details} ", f"{status.details}: bad tag")
    for code in grpc.StatusCode:
        assert OuterStatus.of(code, status.details) is (status if code is status.code else None)
        assert {OuterStatus.of(code, words) for words in other_words} == {None}
