"""The client in JavaScript passes everything, and the kit finds what an implementer may get wrong in it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from blindrelay.testing.conformance.live_relay import LiveRelay

from .conftest import CLIENT, PROGRAM, ROOT, Javascript, results_of

FAULTS = {
    "the final byte is ignored": (
        "records.js",
        "iv[11] = final ? 1 : 0;",
        "iv[11] = 0;",
        "request/stream_one_record",
    ),
    "the counter is little-endian": (
        "records.js",
        "iv.writeBigUInt64BE(BigInt(this.#place), 3);",
        "iv.writeBigUInt64LE(BigInt(this.#place), 0);",
        "request/stream_three_records",
    ),
    "the response nonce is not in the key": (
        "records.js",
        "Buffer.concat([envelopeHash, nonce])",
        "envelopeHash",
        "encapsulation/alice",
    ),
    "both directions have one label": (
        "records.js",
        'derive("response", ',
        'derive("request", ',
        "response/stream_one_record",
    ),
    "padding is not checked": (
        "records.js",
        " && plaintext.subarray(end).every((byte) => byte === 0)",
        "",
        "request/stream_padding_not_zero_last",
    ),
    "the last record does not grow": (
        "records.js",
        "rest >= full + OVERHEAD",
        "rest > full",
        "sizes/late_largest",
    ),
    "a fork goes unnoticed": (
        "trust.js",
        "newest.sequence === sequence && ",
        "false && ",
        "directory/per_client_config_detected",
    ),
    "a directory expires a second early": (
        "trust.js",
        "now <= expires_at",
        "now < expires_at",
        "directory/last_second",
    ),
    "a part's fields are judged as the library lists them": (
        "parts.js",
        "FIELDS.filter(",
        "Object.keys(part).filter(",
        "request/stream_one_record",
    ),
    "a body may follow the end": (
        "parts.js",
        'PADDING: { padding: "PADDING" }',
        'PADDING: { padding: "PADDING", body: "PADDING" }',
        "response/stream_body_after_end",
    ),
    "a cut stream is taken for its end": (
        "parts.js",
        "if (!this.#finished) throw",
        "if (false) throw",
        "response/stream_cut_after_head",
    ),
    "an envelope may be encoded in another way": (
        "conformance.js",
        'refuseUnless(bytes.equals(encode("Envelope", fields)));',
        "",
        "envelope/odd_order",
    ),
}

LIVE_FAULTS = {
    "an abort stays here": (
        "client.js",
        'signal?.addEventListener("abort", () => call.cancel(), { once: true });',
        "",
        "live/abort",
    ),
    "the whole response is gathered first": (
        "client.js",
        "if (part.body?.length > 0) yield part.body;",
        "(parts.all ??= []).push(part.body ?? []); if (part.tail) yield Buffer.concat(parts.all);",
        "live/stream",
    ),
    "a new key is never fetched": (
        "client.js",
        "(error.mayRepeat ? exchange() : Promise.reject(error))",
        "Promise.reject(error)",
        "live/bridge_restart",
    ),
    "a cut response is complete": (
        "client.js",
        "if (!opener.ended) await opener.close();",
        "if (!opener.ended) yield { tail: {} };",
        "live/response_cut",
    ),
    "a request is not padded": (
        "records.js",
        "Number(padme(BigInt(Math.max(4_096, sent + last)))) - sent",
        "Math.max(4_096, sent + last) - sent",
        "live/upload_1_mib",
    ),
}


BILLS = {"bill", "price_table", "watermark", "rounding"}


def test_client_passes_every_vector(javascript: Javascript) -> None:
    results = results_of(command=javascript({}))
    assert (results["failed"], set(results["unsupported"])) == ({}, {*BILLS, "tunnel_cells"}), (
        "it keeps no bills and opens no tunnels"
    )


def test_client_passes_every_live_check(javascript: Javascript) -> None:
    results = results_of("--strict", "--live", command=javascript({}))
    assert results["failed"] == {}


@pytest.mark.parametrize("fault", FAULTS)
def test_vectors_find_the_fault(javascript: Javascript, fault: str) -> None:
    file, old, new, finds = FAULTS[fault]
    results = results_of("--only", finds, command=javascript({file: (old, new)}))
    assert list(results["failed"]) == [finds]


@pytest.mark.parametrize("fault", LIVE_FAULTS)
def test_live_mode_finds_the_fault(javascript: Javascript, fault: str) -> None:
    file, old, new, finds = LIVE_FAULTS[fault]
    command = javascript({file: (old, new)})
    results = results_of("--live", "--only", finds, "--timeout", "5", command=command)
    assert list(results["failed"]) == [finds]


def test_example_prints_the_response(javascript: Javascript) -> None:
    _, program = javascript({})
    chat = Path(program.removesuffix(PROGRAM)) / CLIENT / "chat.js"
    with LiveRelay() as relay:
        relay.provider.reply("Paris, of course.")
        environment = {**os.environ, "BLINDRELAY_CONNECTION": relay.connection}
        command = ["node", str(chat), "What is the capital of France?"]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert " course." in done.stdout
    assert done.stdout.endswith("data: [DONE]\n\n")


def test_client_is_short() -> None:
    """It is an example: what does not fit belongs elsewhere."""
    lines = sum(len(file.read_text("utf-8").splitlines()) for file in (ROOT / CLIENT).glob("*.js"))
    assert lines < 500
