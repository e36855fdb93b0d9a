"""What event streams are made of: the preset dictionary of cells (spec/protocol.md, section 9.6 and annex E)."""

from __future__ import annotations

from typing import Final

DICTIONARY: Final = (
    b"content-type: text/plain; charset=utf-8 application/json cache-control: no-cache x-request-id date server"
    b"openai-processing-ms openai-version 2020-10-01 retry-after anthropic-request-id request-id connection"
    b'{"error":{"message":"","type":"invalid_request_error","param":null,"code":null}}'
    b'data: {"candidates":[{"content":{"parts":[{"text":""}],"role":"model"},"finishReason":"STOP","index":0}],'
    b'"usageMetadata":{"promptTokenCount":,"candidatesTokenCount":,"totalTokenCount":},"modelVersion":"gemini-",'
    b'"responseId":""}\r\n\r\n'
    b'event: response.created\ndata: {"type":"response.created","sequence_number":0,"response":{"id":"resp_",'
    b'"object":"response","created_at":,"status":"in_progress","error":null,"model":"gpt-","output":[],"usage":'
    b'{"input_tokens":,"output_tokens":,"total_tokens":}}}\n\nevent: response.output_item.added\nevent: '
    b"response.completed\nevent: response.output_text.done\n"
    b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","sequence_number":,"item_id":'
    b'"msg_","output_index":0,"content_index":0,"delta":"","logprobs":[],"obfuscation":""}\n\n'
    b'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_","type":"message","role":'
    b'"assistant","model":"claude-","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":,'
    b'"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":}}}\n\nevent: '
    b'content_block_start\ndata: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":'
    b'""}}\n\nevent: ping\ndata: {"type":"ping"}\n\nevent: content_block_stop\nevent: message_delta\ndata: '
    b'{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":}}'
    b'\n\nevent: message_stop\ndata: {"type":"message_stop"}\n\n'
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta",'
    b'"text":" "}}\n\n'
    b'data: {"id":"chatcmpl-","object":"chat.completion.chunk","created":,"model":"","service_tier":"default",'
    b'"system_fingerprint":"fp_","choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},'
    b'"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":,"completion_tokens":,"total_tokens":},'
    b'"obfuscation":""}\n\ndata: [DONE]\n\n'
    b'data: {"id":"chatcmpl-","object":"chat.completion.chunk","created":,"model":"","choices":[{"index":0,'
    b'"delta":{"content":" "},"logprobs":null,"finish_reason":null}]}\n\n'
)
"""2,6xx bytes: the most frequent text is at the end, where a distance takes the fewest bits."""
