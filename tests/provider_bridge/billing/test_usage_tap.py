"""Usage noted beside a stream, and the event that the bridge asked for kept out of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blindrelay.provider_bridge.billing.usage import MAX_BLOCK, Usage, UsageTap
from blindrelay.v1.receipts_pb2 import MEASURE_CACHE_READ, MEASURE_INPUT, MEASURE_OUTPUT


def event(**members: Any) -> bytes:
    return b"data: %b\n\n" % json.dumps(members).encode()


TOTALS = {"prompt_tokens": 9, "completion_tokens": 4}
CHAT = [event(choices=[{"delta": {"content": "x"}}], model="gpt-5-x", usage=None) for _ in range(4)]
ALONE = event(choices=[], usage=TOTALS)
DONE = b"data: [DONE]\n\n"

RESPONSES = [
    event(type="response.created", response={"model": "gpt-5", "usage": None}),
    *[event(type="response.output_text.delta", delta="x") for _ in range(3)],
    event(
        type="response.completed",
        response={"model": "gpt-5", "usage": {"input_tokens": 7, "output_tokens": 3}},
    ),
]
MESSAGES = [
    event(
        type="message_start",
        message={
            "model": "claude",
            "usage": {"input_tokens": 25, "cache_read_input_tokens": 5, "output_tokens": 1},
        },
    ),
    *[event(type="content_block_delta", delta={"type": "text_delta", "text": "x"}) for _ in range(3)],
    event(type="message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 15}),
    event(type="message_stop"),
]
GEMINI = [
    event(
        modelVersion="gemini-3",
        usageMetadata={"promptTokenCount": 8, "candidatesTokenCount": n, "totalTokenCount": 8 + n},
    )
    for n in (1, 5, 9)
]
COHERE = [
    event(type="content-delta", delta={"message": {"content": {"text": "x"}}}),
    event(type="message-end", delta={"usage": {"billed_units": {"input_tokens": 3, "output_tokens": 2}}}),
]
OLLAMA = [
    b'{"model":"m","message":{"content":"x"},"done":false}\n',
    b'{"model":"m","done":true,"prompt_eval_count":6,"eval_count":2}\n',
]


def tapped(
    data: bytes, *, size: int = 1 << 20, removes: bool = False, adds: bool = False
) -> tuple[Usage, bytes]:
    usage = Usage(adds=adds)
    tap = UsageTap(usage, _fail, removes=removes)
    passed = b"".join(tap.take(data[start : start + size]) for start in range(0, len(data), size))
    return usage, passed + tap.rest()


def _fail(fault: Exception) -> None:
    raise fault


@pytest.mark.parametrize(
    ("events", "counts", "model"),
    [
        ([*CHAT, ALONE, DONE], (9, 4), "gpt-5-x"),
        (RESPONSES, (7, 3), "gpt-5"),
        (MESSAGES, (25, 15), "claude"),
        (GEMINI, (8, 9), "gemini-3"),
        (COHERE, (3, 2), ""),
        (OLLAMA, (6, 2), "m"),
    ],
    ids=["chat", "responses", "messages", "gemini", "cohere", "ollama"],
)
@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_stream_is_read_to_its_last_report(
    events: list[bytes], counts: tuple[int, int], model: str, size: int
) -> None:
    usage, passed = tapped(b"".join(events), size=size)
    assert passed == b"".join(events), "not a byte is changed"
    assert (usage.counts[MEASURE_INPUT], usage.counts[MEASURE_OUTPUT], usage.model) == (*counts, model)
    assert (usage.reported, usage.deltas) == (True, 0)


@pytest.mark.parametrize(
    ("events", "reported", "deltas", "output"),
    [
        (CHAT, False, 4, 0),
        (RESPONSES[:3], False, 2, 0),
        (MESSAGES[:3], True, 2, 1),
        (GEMINI[:2], True, 0, 5),
        (COHERE[:1], False, 1, 0),
        (OLLAMA[:1], False, 1, 0),
    ],
    ids=["chat", "responses", "messages", "gemini", "cohere", "ollama"],
)
def test_stream_that_was_left_has_its_deltas_counted(
    events: list[bytes], reported: bool, deltas: int, output: int
) -> None:
    usage, _ = tapped(b"".join(events))
    assert (usage.reported, usage.deltas, usage.counts[MEASURE_OUTPUT]) == (reported, deltas, output)


def test_later_report_completes_an_earlier_one() -> None:
    usage, _ = tapped(b"".join(MESSAGES))
    assert usage.counts[MEASURE_CACHE_READ] == 5, "only message_start says so"


def test_reports_of_a_tunnel_add_up() -> None:
    said = [
        {"type": "response.created", "response": {"usage": None}},
        {"type": "response.done", "response": {"usage": {"input_tokens": 5, "output_tokens": 2}}},
        {"type": "conversation.item.input_audio_transcription.completed", "usage": {"input_tokens": 3}},
        {"type": "response.output_audio.delta", "delta": "AAAA"},
    ]
    usage, _ = tapped(b"".join(json.dumps(each).encode() for each in said * 2), adds=True)
    assert (usage.counts[MEASURE_INPUT], usage.counts[MEASURE_OUTPUT], usage.deltas) == (16, 4, 1)


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n"])
@given(st.integers(1, 400))
def test_usage_alone_is_removed_wherever_the_stream_is_cut(end: bytes, size: int) -> None:
    before, alone, done = (data.replace(b"\n\n", end) for data in (b"".join(CHAT), ALONE, DONE))
    usage, passed = tapped(before + alone + done, size=size, removes=True)
    assert passed == before + done
    assert usage.counts[MEASURE_INPUT] == 9


def test_usage_beside_words_passes() -> None:
    last = event(choices=[{"delta": {}, "finish_reason": "stop"}], usage=TOTALS)
    _, passed = tapped(b"".join(CHAT) + last + DONE, removes=True)
    assert passed == b"".join(CHAT) + last + DONE


def test_event_is_not_held_for_ever() -> None:
    usage = Usage()
    tap = UsageTap(usage, _fail, removes=True)
    assert tap.take(b'data: {"choices": [') == b""
    assert tap.held == 19
    long = b" " * MAX_BLOCK
    assert tap.take(long) == b'data: {"choices": [' + long
    assert tap.take(b'], "usage": {"prompt_tokens": 3}}\n\n') == b'], "usage": {"prompt_tokens": 3}}\n\n', (
        "it has begun to pass"
    )
    assert (tap.removed, usage.counts[MEASURE_INPUT]) == (False, 3)
    assert tap.take(ALONE) == b""
    assert tap.removed


def test_fault_in_reading_costs_the_report_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    faults: list[Exception] = []
    usage = Usage()
    tap = UsageTap(usage, faults.append, removes=True)
    monkeypatch.setattr(usage, "note", lambda _: 1 / 0)
    data = b"".join(CHAT) + ALONE + DONE
    assert tap.take(data) + tap.rest() == data
    assert len(faults) == 1
    assert not usage.reported
