"""`python -m blindrelay.testbed show`."""

from __future__ import annotations

import asyncio
import json
import secrets

from blindrelay.client.endpoint import Access, listen, serve_app
from blindrelay.testbed.configuration import official_providers
from blindrelay.testbed.providers import ProviderKind, talking_provider
from blindrelay.testbed.show.app import show_app
from blindrelay.testbed.show.events import Events
from blindrelay.testbed.show.exchange import Exchanges
from blindrelay.testbed.show.recorder import Recorder
from blindrelay.testbed.show.tricks import SHOWN
from blindrelay.testbed.topology import Testbed


def run_show(provider: ProviderKind | None, port: int, *, as_json: bool) -> None:
    """Serves the page until it is interrupted. Raises TestbedError, ConfigurationError."""
    kind = provider or talking_provider()
    with Recorder() as recorder, Testbed(kind, tap=SHOWN, providers=official_providers(recorder.url)) as bed:
        asyncio.run(_serve(bed, recorder, port, as_json=as_json))


async def _serve(bed: Testbed, recorder: Recorder, port: int, *, as_json: bool) -> None:
    events = Events()
    recorder.begin(bed.provider, events)
    listener = listen("127.0.0.1", port)
    bound, token = listener.getsockname()[1], secrets.token_urlsafe(16)
    url = f"http://127.0.0.1:{bound}/{token}/"
    parts = {
        "relay_name": f"process {bed.pids['relay']}",
        "bridge_name": f"process {bed.pids['bridge']}",
        "provider_name": bed.provider_kind,
        "identity": bed.identity,
    }
    app = show_app(Exchanges(bed, events), events, Access(token, bound), token, parts)

    def announce() -> None:
        print(
            json.dumps({"listening": url}) if as_json else f"The live view: {url}\nCtrl-C stops it.",
            flush=True,
        )

    await serve_app(app, listener, announce)
