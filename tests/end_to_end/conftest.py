"""Testbeds of real processes, shared by tests that do not harm them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from blindrelay.client import SealedTransport
from blindrelay.testbed import Testbed


@pytest.fixture(scope="session")
def scripted_bed() -> Iterator[Testbed]:
    """With the scripted provider, and two models at one address; do not harm it."""
    models = {"gpt-5.5": "openai/gpt-5.5", "claude": ["anthropic/claude-opus-5", "openai/gpt-5.5"]}
    with Testbed("scripted", models=models) as bed:
        yield bed


@pytest.fixture
def scripted(scripted_bed: Testbed) -> SealedTransport:
    """A transport to the scripted provider."""
    return SealedTransport(scripted_bed.relay)
