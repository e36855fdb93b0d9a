"""Two nodes, three bridges and a database, for all tests of one file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from blindrelay.serving import StartError
from blindrelay.testbed.envoy_relay import envoy_program
from blindrelay.testbed.postgresql import programs
from blindrelay.testbed.scale.topology import ScaledTestbed


@pytest.fixture(scope="module")
def bed() -> Iterator[ScaledTestbed]:
    if programs() is None:
        pytest.skip("there is no PostgreSQL server here")
    try:
        envoy_program()
    except StartError as error:
        pytest.skip(str(error))
    with ScaledTestbed() as bed:
        yield bed
