"""`python -m blindrelay.testbed show`."""

from __future__ import annotations

import asyncio
import json
import secrets
from typing import Final

from blindrelay.client.endpoint import Access, listen, serve_app
from blindrelay.testbed.configuration import official_providers
from blindrelay.testbed.envelope_fields import shortened
from blindrelay.testbed.providers import IN_WORDS, ProviderKind, talking_provider
from blindrelay.testbed.show.app import show_app
from blindrelay.testbed.show.events import Events
from blindrelay.testbed.show.exchange import Exchanges
from blindrelay.testbed.show.recorder import Recorder
from blindrelay.testbed.topology import Testbed
from blindrelay.v1.limits import MAX_MESSAGE_SIZE

_KEPT_LINES: Final = 10_000
"""Of the relay's log: one for each exchange."""


def run_show(provider: ProviderKind | None, port: int, *, as_json: bool) -> None:
    """Serves the page until it is interrupted. Raises TestbedError, ConfigurationError."""
    kind = provider or talking_provider()
    recorder = Recorder()
    with (
        recorder.running() as url,
        Testbed(kind, tap=MAX_MESSAGE_SIZE, kept_lines=_KEPT_LINES, providers=official_providers(url)) as bed,
    ):
        asyncio.run(_serve(bed, recorder, port, as_json=as_json))


async def _serve(bed: Testbed, recorder: Recorder, port: int, *, as_json: bool) -> None:
    events = Events()
    recorder.begin(bed.provider, events)
    listener = listen("127.0.0.1", port)
    bound, token = listener.getsockname()[1], secrets.token_urlsafe(16)
    url = f"http://127.0.0.1:{bound}/{token}/"
    said = {
        "relay_process": f"process {bed.pids['relay']}",
        "bridge_process": f"process {bed.pids['bridge']}",
        "provider": IN_WORDS[bed.provider_kind],
        "identity": shortened(bed.identity),
    }
    access = Access(token, bound)
    app = show_app(Exchanges(bed, events), events, access, token, said)

    def announce() -> None:
        print(
            json.dumps({"listening": url}) if as_json else f"The live view: {url}\nCtrl-C stops it.",
            flush=True,
        )

    await serve_app(app, access, listener, announce)
