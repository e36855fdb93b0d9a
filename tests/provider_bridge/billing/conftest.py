"""A bridge that keeps bills."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ..conftest import Serve
from .books import BilledCaller, billing_at, settling, table_of


@pytest.fixture
async def billed(serve: Serve, tmp_path: Path) -> AsyncIterator[BilledCaller]:
    async with serve(billing=billing_at(tmp_path)) as caller:
        async with settling(caller, int(time.time())) as keeper:
            table = table_of(await keeper.until("watermark"))
        yield BilledCaller(caller, table)
