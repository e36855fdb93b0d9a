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


def test_the_list_is_the_specifications() -> None:
    assert {status.details: status.code for status in OuterStatus} == LISTED


def test_every_message_is_one_word_and_its_own() -> None:
    assert len({status.details for status in OuterStatus}) == len(OuterStatus)
    assert all(status.details.replace("_", "").isalpha() for status in OuterStatus)


@pytest.mark.parametrize("status", OuterStatus)
def test_a_status_is_known_by_code_and_message_together(status: OuterStatus) -> None:
    assert OuterStatus.of(status.code, status.details) is status
    for other in grpc.StatusCode:
        if other is not status.code:
            assert OuterStatus.of(other, status.details) is None


@pytest.mark.parametrize("details", [None, "", "Refused", "refused ", "refused: bad tag", "127.0.0.1:8490"])
def test_anything_else_is_on_no_list(details: str | None) -> None:
    for code in grpc.StatusCode:
        assert OuterStatus.of(code, details) is None
