"""llama.cpp with the random model, whose seed decides every byte, as a process."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from blindrelay.testbed import PartDiedError, write_random_model
from blindrelay.testbed.processes import PartProcess
from blindrelay.testbed.providers import llama_is_installed


@pytest.mark.skipif(not llama_is_installed(), reason="llama.cpp has no wheel for this platform")
def test_taken_port_is_reported(tmp_path: Path) -> None:
    model = write_random_model(tmp_path / "model.gguf")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        arguments = ["--model", str(model), "--port", str(taken.getsockname()[1])]
        part = PartProcess("provider", "blindrelay.testbed.llama_provider", lambda: arguments)
        with pytest.raises(PartDiedError, match=r"exit code 1(.|\n)*could not serve .* on port \d+"):
            part.start()


def test_the_same_seed_gives_the_same_model_and_another_seed_another(tmp_path: Path) -> None:
    pytest.importorskip("gguf", reason="what writes GGUF files is not installed")
    first, again, other = (write_random_model(tmp_path / "model", seed).read_bytes() for seed in (7, 7, 8))
    assert first == again != other
