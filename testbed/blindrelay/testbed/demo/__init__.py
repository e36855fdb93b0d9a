"""The demo: one question through the official SDK, sealed, and what each party saw of it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from blindrelay.testbed.demo.bill import print_bill
from blindrelay.testbed.demo.report import (
    Sighting,
    heading,
    print_client,
    print_envoy,
    print_others,
    print_relay,
)
from blindrelay.testbed.errors import TestbedError
from blindrelay.testbed.providers import IN_WORDS, ProviderKind, talking_provider
from blindrelay.testbed.topology import BY_ENVOY, Testbed

if TYPE_CHECKING:
    import httpx2

QUESTION: Final = "What is the capital of France? Answer in one sentence."
TAPPED_BYTES: Final = 16
TIMEOUT: Final = 600.0
"""Seconds for a connection, and for the next piece of the response."""

MAX_TOKENS: Final = 64
REAL_MODEL: Final = "gpt-5.5"
"""What OpenAI itself is asked for, unless told otherwise."""


class DemoError(TestbedError):
    """The question was not answered."""


def run_demo(
    provider: ProviderKind | None,
    relay: str | None,
    question: str = QUESTION,
    model: str | None = None,
    *,
    by_envoy: bool = False,
) -> None:
    """Asks, shows the answer as it comes, and then who saw what. Raises TestbedError, BlindRelayError.

    `relay` is the connection string of one that runs already: then nothing is started. `by_envoy` has Envoy
    carry the bytes.
    """
    if relay is not None:
        print_client(ask(relay, question, model or REAL_MODEL), relay)
        return
    kind = provider or talking_provider()
    fallen_back = provider is None and kind == "scripted"
    with _started(kind, fallen_back=fallen_back, by_envoy=by_envoy) as bed:
        sighting = ask(bed.relay, question, model or (REAL_MODEL if kind == "openai" else kind))
        print("\n" + heading("What each party saw of it"))
        print_client(sighting, bed.relay)
        if by_envoy:
            print_envoy()
        else:
            print_relay(bed.forwarded)
        print_others(sighting.method, sighting.url, bed)
        if sighting.bill is not None:
            print_bill(sighting.bill, bed.relay)


@contextmanager
def _started(kind: ProviderKind, *, fallen_back: bool, by_envoy: bool) -> Iterator[Testbed]:
    relay = BY_ENVOY if by_envoy else None
    bed = Testbed(kind, tap=0 if by_envoy else TAPPED_BYTES, ledger=True, relay_start=relay)
    print(heading("BlindRelay: a relay that cannot read what it carries") + "\n")
    if fallen_back:
        print(
            "  The local model is not installed here, so a scripted provider takes its place: its answer\n"
            "  was written before the question was asked. All the rest is as always.\n"
        )
    print("  starting four processes …" if kind != "openai" else "  starting three processes …", flush=True)
    with bed:
        print(f"  provider  {IN_WORDS[kind]}" + (f", {_where(bed, 'provider')}" if kind != "openai" else ""))
        print(f"  bridge    opens, calls the provider, seals the answer, {_where(bed, 'bridge')}")
        print(f"  ledger    keeps accounts and receipts, {_where(bed, 'ledger')}")
        how = ", by Envoy" if by_envoy else ""
        print(f"  relay     passes on what it cannot open{how}, {_where(bed, 'relay')}")
        yield bed


def _where(bed: Testbed, part: str) -> str:
    return f"{bed.parts[part].listening}, pid {bed.pids[part]}"


def ask(connection: str, question: str, model: str) -> Sighting:
    """Sends the question through the official openai SDK and prints the answer while it comes."""
    from blindrelay.client import SealedTransport

    sealed = SealedTransport(connection)
    print(f"\n  question  {question}\n  answer    ", end="", flush=True)
    note = Sighting()
    hooks = {
        "request": [lambda request: _note(request, note)],
        "response": [lambda response: _note_bill(response, note)],
    }
    with sealed.httpx2_client(event_hooks=hooks, timeout=TIMEOUT) as http_client:
        _stream(http_client, question, model, note)
    return note


def _stream(http_client: httpx2.Client, question: str, model: str, sighting: Sighting) -> None:
    import openai

    started = time.monotonic()
    # Without the SDK's own retries: what goes wrong in a demo is shown at once.
    client = openai.OpenAI(api_key="not-needed", http_client=http_client, max_retries=0)
    try:
        stream = client.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": question}],
            temperature=0,
            max_tokens=MAX_TOKENS,
            stream=True,
        )
        for chunk in stream:
            if chunk.choices and (piece := chunk.choices[0].delta.content):
                sighting.piece_times.append(time.monotonic() - started)
                sys.stdout.write(piece)
                sys.stdout.flush()
    except openai.OpenAIError as error:
        raise DemoError(_reason(error)) from error
    finally:
        print(flush=True)


def _note(request: httpx2.Request, sighting: Sighting) -> None:
    sighting.method = request.method
    sighting.url = str(request.url)
    sighting.request_bytes = int(request.headers.get("content-length", 0))
    sighting.request_headers = len(request.headers)


def _note_bill(response: httpx2.Response, sighting: Sighting) -> None:
    sighting.bill = response.extensions.get("blindrelay")


def _reason(error: Exception) -> str:
    """The one line in an SDK's error: the message of the answer, or what is behind "Connection error."."""
    body = getattr(error, "body", None)
    if isinstance(body, dict) and isinstance(body.get("message"), str):
        return str(body["message"])
    return str(error.__cause__ or error)
