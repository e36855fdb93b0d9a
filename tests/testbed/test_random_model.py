"""The random model: its seed decides every byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from blindrelay.testbed import write_random_model

pytest.importorskip("gguf", reason="what writes GGUF files is not installed")


def test_the_same_seed_gives_the_same_file_and_another_seed_another(tmp_path: Path) -> None:
    seeds = {"first": 7, "again": 7, "other": 8}
    models = {name: write_random_model(tmp_path / name, seed).read_bytes() for name, seed in seeds.items()}
    assert models["first"] == models["again"] != models["other"]
