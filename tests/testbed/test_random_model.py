"""The model made on the spot: small, and the same for the same seed."""

from __future__ import annotations

from pathlib import Path

import pytest

from blindrelay.testbed import write_random_model

pytest.importorskip("gguf", reason="what writes GGUF files is not installed")


def test_it_takes_about_half_a_megabyte(tmp_path: Path) -> None:
    assert 400_000 < write_random_model(tmp_path / "model.gguf").stat().st_size < 600_000


def test_the_same_seed_gives_the_same_file(tmp_path: Path) -> None:
    first, again = (write_random_model(tmp_path / name, seed=7).read_bytes() for name in ("a.gguf", "b.gguf"))
    assert first == again


def test_another_seed_gives_another_model(tmp_path: Path) -> None:
    one, other = (write_random_model(tmp_path / f"{seed}.gguf", seed).read_bytes() for seed in (1, 2))
    assert len(one) == len(other)
    assert one != other
