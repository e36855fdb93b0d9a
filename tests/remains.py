"""What calls leave behind in this process: tasks, and objects of BlindRelay and of gRPC."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from typing import Final

_PACKAGES: Final = ("blindrelay", "grpc")


def kept() -> Counter[str]:
    """How many tasks there are, and how many objects of each class of these packages.

    What is there now and was not before is `kept() - before`.
    """
    gc.collect()
    types = Counter(map(type, gc.get_objects()))
    names = {each: f"{each.__module__}.{each.__qualname__}" for each in types}
    objects = {names[each]: count for each, count in types.items() if names[each].startswith(_PACKAGES)}
    return Counter(objects | {"tasks": len(asyncio.all_tasks())})


def left_since(before: Counter[str]) -> Counter[str]:
    """What kept() has now and did not have then. gRPC may keep the state of a few calls for a while."""
    return kept() - before - Counter({"grpc._cython.cygrpc.RPCState": 10})
