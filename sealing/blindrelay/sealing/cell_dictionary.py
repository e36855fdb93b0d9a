"""The preset dictionary of cells: what event streams are made of (spec/protocol.md, section 9.6)."""

from __future__ import annotations

from typing import Final

DICTIONARY: Final = (
    b"content-type: text/plain; charset=utf-8 application/json cache-control: no-cache x-request-id date"
    b" serveropenai-processing-ms openai-version 2020-10-01 retry-after anthropic-request-id request-id "
    b'connection{"error":{"message":"","type":"invalid_request_error","param":null,"code":null}}data: {"'
    b'candidates":[{"content":{"parts":[{"text":""}],"role":"model"},"finishReason":"STOP","index":0}],"'
    b'usageMetadata":{"promptTokenCount":,"candidatesTokenCount":,"totalTokenCount":},"modelVersion":"ge'
    b'mini-","responseId":""}\r\n\r\nevent: response.created\ndata: {"type":"response.created","sequence_nu'
    b'mber":0,"response":{"id":"resp_","object":"response","created_at":,"status":"in_progress","error":'
    b'null,"model":"gpt-","output":[],"usage":{"input_tokens":,"output_tokens":,"total_tokens":}}}\n\neven'
    b"t: response.output_item.added\nevent: response.completed\nevent: response.output_text.done\nevent: re"
    b'sponse.output_text.delta\ndata: {"type":"response.output_text.delta","sequence_number":,"item_id":"'
    b'msg_","output_index":0,"content_index":0,"delta":"","logprobs":[],"obfuscation":""}\n\nevent: messag'
    b'e_start\ndata: {"type":"message_start","message":{"id":"msg_","type":"message","role":"assistant","'
    b'model":"claude-","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":,"ca'
    b'che_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":}}}\n\nevent: content_block'
    b'_start\ndata: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}\n\ne'
    b'vent: ping\ndata: {"type":"ping"}\n\nevent: content_block_stop\nevent: message_delta\ndata: {"type":"'
    b'message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":}}'
    b'\n\nevent: message_stop\ndata: {"type":"message_stop"}\n\nevent: content_block_delta\ndata: {"type":"'
    b'content_block_delta","index":0,"delta":{"type":"text_delta","text":" "}}\n\ndata: {"id":"chatcmpl-",'
    b'"object":"chat.completion.chunk","created":,"model":"","service_tier":"default","system_fingerprin'
    b't":"fp_","choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs"'
    b':null,"finish_reason":"stop"}],"usage":{"prompt_tokens":,"completion_tokens":,"total_tokens":},"ob'
    b'fuscation":""}\n\ndata: [DONE]\n\ndata: {"id":"chatcmpl-","object":"chat.completion.chunk","created":'
    b',"model":"","choices":[{"index":0,"delta":{"content":" "},"logprobs":null,"finish_reason":null}]}\n'
    b"\n"
)
"""The bytes of spec/cell-dictionary.bin. Frequent events are at the end, where a distance is short."""
