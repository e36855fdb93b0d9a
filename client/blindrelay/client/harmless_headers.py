"""Headers that can be dropped without changing the request's meaning (spec/protocol.md, section 11.3).

They tell which software runs, where and in which session, or they are for the next server only. None of them
changes what a provider does with the body. They are dropped with any credential, so that the bridge does not
learn who asks. A header that is on no list is refused, never dropped.
"""

from __future__ import annotations

from typing import Final

from blindrelay.v1.http_headers import HOP_BY_HOP

_HTTP: Final = frozenset(
    {
        # The bridge makes its own. It decides what it can decode (accept-encoding).
        b"accept-charset",
        b"accept-encoding",
        b"accept-language",
        b"content-length",
        b"host",
        b"user-agent",
        # No model API reads cookies. A browser sends those of other services on this machine.
        b"cookie",
        b"cookie2",
        # Browsers and fetch.
        b"cache-control",
        b"dnt",
        b"from",
        b"origin",
        b"pragma",
        b"priority",
        b"referer",
        b"upgrade-insecure-requests",
        b"x-requested-with",
        # Proxies in front of an endpoint add these.
        b"cdn-loop",
        b"cf-connecting-ip",
        b"cf-ipcountry",
        b"cf-ray",
        b"cf-visitor",
        b"forwarded",
        b"max-forwards",
        b"true-client-ip",
        b"via",
        b"x-client-ip",
        b"x-real-ip",
        b"x-request-start",
    }
)

_TRACES: Final = frozenset(
    {
        b"b3",
        b"baggage",
        b"langsmith-trace",
        b"request-id",
        b"sentry-trace",
        b"traceparent",
        b"tracestate",
        b"uber-trace-id",
        b"x-amzn-trace-id",
        b"x-client-request-id",
        b"x-cloud-trace-context",
        b"x-correlation-id",
        b"x-request-id",
    }
)
"""They name a request in logs, and so who made it."""

_SOFTWARE: Final = frozenset(
    {
        # OpenRouter's attribution, which aider, LiteLLM, Cline and others set.
        b"http-referer",
        b"x-openrouter-categories",
        b"x-openrouter-title",
        b"x-title",
        # Codex.
        b"conversation-id",
        b"conversation_id",
        b"originator",
        b"session-id",
        b"session_id",
        b"thread-id",
        b"thread_id",
        b"version",
        b"x-openai-memgen-request",
        b"x-openai-subagent",
        b"x-responsesapi-include-timing-metrics",
        # Claude Code, and Anthropic's SDK in a browser. The endpoint has its own rules for browsers.
        b"anthropic-dangerous-direct-browser-access",
        b"x-app",
        b"x-client-app",
        # Google's SDKs and Gemini CLI.
        b"x-gemini-api-privileged-user-id",
        b"x-goog-api-client",
        b"x-goog-request-params",
        b"x-server-timeout",
        # Azure's SDKs.
        b"x-ms-client-request-id",
        b"x-ms-return-client-request-id",
        b"x-ms-useragent",
        # Others: a program's name and platform, and session affinity, which one bridge does not need.
        b"copilot-integration-id",
        b"editor-plugin-version",
        b"editor-version",
        b"openai-intent",
        b"request-source",
        b"semantic-kernel-version",
        b"x-affinity",
        b"x-client-name",
        b"x-client-type",
        b"x-client-version",
        b"x-core-version",
        b"x-initiator",
        b"x-interaction-id",
        b"x-platform",
        b"x-platform-version",
        b"x-session-affinity",
        b"x-session-id",
        b"x-task-id",
    }
)

_PREFIXES: Final = (
    b"sec-",  # browsers, and the WebSocket handshake, which the bridge makes itself
    b"x-b3-",
    b"x-claude-",
    b"x-codex-",
    b"x-datadog-",
    b"x-fern-",
    b"x-forwarded-",
    b"x-kilocode-",
    b"x-langchain-",
    b"x-msh-",
    b"x-oai-",
    b"x-openai-internal-",  # Codex: which form of the API it speaks
    b"x-opencode-",
    b"x-openwebui-",
    b"x-qwen-code-",
    b"x-roo-",
    b"x-stainless-",
    b"x-zed-",
)

HARMLESS: Final = HOP_BY_HOP | _HTTP | _TRACES | _SOFTWARE


HARMLESS_UNSIGNED: Final = frozenset({b"amz-sdk-invocation-id", b"amz-sdk-request", b"x-amz-user-agent"})
"""From AWS SDKs. A signature (SigV4) may cover them. With an INJECTED credential, no signature passes."""


def is_harmless(name: bytes) -> bool:
    """Whether a header (its name in lower case) may be dropped silently."""
    return name in HARMLESS or name.startswith(_PREFIXES)
