"""The embedded provider: llama.cpp's own HTTP server, in a process of its own.

    python -m blindrelay.testbed.llama_provider --model FILE [--name NAME] [--port PORT] [--shared-cache]

It serves what providers serve, streamed where they stream: /v1/chat/completions, /v1/responses, /v1/messages,
/v1/embeddings, /v1/models. When it listens it prints {"listening": "127.0.0.1:PORT"}; it ends with SIGTERM.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

_CONTEXT: Final = 8192
"""Tokens, shared by the slots."""

_SLOTS: Final = 4
"""Requests that are answered at the same time; more of them wait."""

_QUIET: Final = 1
"""llama.cpp's verbosity: errors only."""


def main() -> int:
    """Serves until SIGTERM. Returns 1 if llama.cpp refuses the model or the port."""
    parser = argparse.ArgumentParser(prog="llama_provider", description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, metavar="FILE", help="a GGUF file")
    parser.add_argument("--name", default="local", help="what the model is called in responses")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--shared-cache", action="store_true", help="reuse prompts of all clients")
    given = parser.parse_args()
    try:
        address = _serve(given.model, given.name, given.port, shared_cache=given.shared_cache)
    except RuntimeError:
        sys.stderr.write(f"llama_provider: llama.cpp could not serve {given.model} on port {given.port}\n")
        return 1
    sys.stdout.write(json.dumps({"listening": address}) + "\n")
    sys.stdout.flush()
    signal.pause()
    return 0


def _serve(model: Path, name: str, port: int, *, shared_cache: bool) -> str:
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(model)
    parameters.model_alias = {name}
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = port
    parameters.n_ctx = _CONTEXT
    parameters.n_parallel = _SLOTS
    # Its threads wait by spinning: two of them, on a busy machine of two cores, take a hundred times as long.
    parameters.cpuparams.n_threads = 1
    parameters.cpuparams_batch.n_threads = 1
    # With pooling set, one instance answers chats and embeddings both.
    parameters.embedding = True
    parameters.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    parameters.use_jinja = True
    if not shared_cache:
        _keep_prompts_apart(parameters)
    parameters.verbosity = _QUIET
    # The server lives as long as this object; the process ends by signal, so it is kept for good.
    _SERVERS.append(server := xllamacpp.Server(parameters))
    return str(urlsplit(server.listening_address).netloc)


def _keep_prompts_apart(parameters: Any) -> None:
    """Keeps prompts out of caches, where others could guess them (docs/operations.md).

    The bridge refuses requests that set cache_prompt, which would undo this.
    """
    parameters.cache_prompt = False
    parameters.cache_ram_mib = 0
    parameters.slot_prompt_similarity = 0.0


_SERVERS: Final[list[object]] = []

if __name__ == "__main__":
    sys.exit(main())
