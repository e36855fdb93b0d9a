"""G5: what the size of a sealed request says, over conversations that grow by turns."""

from __future__ import annotations

import json
import random
import time
from itertools import pairwise
from typing import Final

from bench.leakage.figures import Figure
from bench.leakage.games import entropy
from blindrelay.sealing import SealingKey, encapsulate
from blindrelay.v1.envelope_pb2 import Envelope
from blindrelay.v1.inner_pb2 import EXCHANGE_KIND_EXCHANGE, RequestHead, Shaping, ShapingProfile

_CONVERSATIONS: Final = 60
_TURNS: Final = 8
_PROFILES: Final = {
    "off": ShapingProfile.SHAPING_PROFILE_OFF,
    "balanced": ShapingProfile.SHAPING_PROFILE_BALANCED,
    "strict": ShapingProfile.SHAPING_PROFILE_STRICT,
}


def request_figures(seed: int) -> list[Figure]:
    """Bits of the sizes, and how often a turn changes the size, for each shape."""
    now = int(time.time()) // 10 * 10
    key = SealingKey.generate(now - 600, now + 600)
    conversations = [_conversation(random.Random(f"{seed}/{number}")) for number in range(_CONVERSATIONS)]
    figures = []
    for shape, profile in _PROFILES.items():
        sizes = [[_sealed_size(body, profile, key, now) for body in bodies] for bodies in conversations]
        turns = [later != earlier for each in sizes for earlier, later in pairwise(each)]
        bits = entropy([size for each in sizes for size in each])
        figures += [
            Figure("requests: bits of the size (entropy)", shape, bits),
            Figure("requests: share of turns that change the size", shape, sum(turns) / len(turns)),
        ]
    return figures


def _conversation(chance: random.Random) -> list[bytes]:
    """The bodies of the requests of one conversation: each repeats all before it."""
    messages: list[dict[str, str]] = []
    bodies: list[bytes] = []
    for _ in range(_TURNS):
        for role, median in (("user", 40), ("assistant", 200)):
            if role == "assistant" and not messages:
                continue
            count = round(median * chance.lognormvariate(0, 0.8)) + 1
            messages.append({"role": role, "content": "word " * count})
        bodies.append(json.dumps({"model": "m", "stream": True, "messages": messages}).encode())
    return bodies


def _sealed_size(body: bytes, profile: ShapingProfile.ValueType, key: SealingKey, now: int) -> int:
    envelope = Envelope(version=1, exchange_id=bytes(16), identity=bytes(32), key_id=key.key_id)
    envelope.issued_at, envelope.max_units = now, 1_000_000
    sealer = encapsulate(envelope.SerializeToString(deterministic=True), key.config).request
    sealer.head(
        RequestHead(
            kind=EXCHANGE_KIND_EXCHANGE,
            method="POST",
            url="https://api.openai.com/v1/chat/completions",
            shaping=Shaping(profile=profile),
        )
    )
    return sum(map(len, [*sealer.body(body), *sealer.end()]))
