"""As a gateway in front of the same provider: LiteLLM's proxy, which sees all, and relay and bridge."""

from __future__ import annotations

import json
import os

from bench import programs
from bench.chain import UnavailableError
from bench.measuring import Side, closed, interleaved
from bench.plan import KIB, Plan
from bench.results import Comparison, Point
from bench.session import Session
from bench.stands import SEALED_BY_ENVOY, WholeChain, whole_chain
from bench.work import Work
from blindrelay.testbed.ports import free_port

LITELLM, OURS = "LiteLLM's proxy", "BlindRelay"
WHOLE, STREAMED = "answer in one body", "streamed, 16 pieces at 100/s"
LONG = "streamed, 128 pieces at 100/s"

_SIDE_BY_SIDE = 8
_LOADS = {
    WHOLE: Work(prompt_bytes=KIB, piece_bytes=256),
    STREAMED: Work(prompt_bytes=KIB, pieces=16, piece_bytes=16, pieces_per_second=100),
    LONG: Work(prompt_bytes=KIB, pieces=128, piece_bytes=16, pieces_per_second=100),
}


def gateway(plan: Plan, session: Session) -> Comparison:
    """Chat completions through either."""
    about = (
        f"Prompts of 1 KiB; {_SIDE_BY_SIDE} at a time, closed loop. LiteLLM has one worker, no database, "
        "no logging."
    )
    limits = (
        "LiteLLM also routes by model, counts budgets and translates; we seal. Both forward to one provider. "
        f"Of *{SEALED_BY_ENVOY}*, streams are shaped as clients ask for by default."
    )
    made = Comparison("As a gateway", about, limits, "load")
    stand = whole_chain(session)
    generator = stand.chain.generator("sealed", {"connection": stand.connection}, _SIDE_BY_SIDE)
    sides = [Side(OURS, generator, stand.behind)]
    by_envoy: dict[bool, Side] = {}
    try:
        by_envoy = {shaped: stand.side_by_envoy(_SIDE_BY_SIDE, shaped=shaped) for shaped in (False, True)}
    except UnavailableError as reason:
        made.skipped.append(f"{SEALED_BY_ENVOY}: {reason}")
    try:
        address = _start_litellm(stand)
    except UnavailableError as reason:
        made.skipped.append(f"{LITELLM}: {reason}")
    else:
        generator = stand.chain.generator("http", {"url": f"http://{address}/v1"}, _SIDE_BY_SIDE)
        sides.append(Side(LITELLM, generator, {"gateway": stand.chain.pids[LITELLM]}))
    for name, work in _LOADS.items():
        order = closed(work, _SIDE_BY_SIDE, plan.seconds)
        also = [by_envoy[work.pieces > 0]] if by_envoy else []
        made.points.append(Point(name, interleaved([*sides, *also], order, plan.rounds)))
    if LITELLM in stand.chain.pids:
        stand.chain.stop(LITELLM)
    return made


def _start_litellm(stand: WholeChain) -> str:
    binary = programs.LITELLM.path()
    port = free_port()
    models = [
        {
            "model_name": work.model,
            "litellm_params": {
                "model": f"openai/{work.model}",
                "api_base": stand.url,
                "api_key": "none",
            },
        }
        for work in _LOADS.values()
    ]
    settings = {
        "model_list": models,
        "litellm_settings": {"telemetry": False, "drop_params": True},
        "general_settings": {"dangerously_permit_weak_or_unset_master_key": True},
    }
    config = stand.chain.folder / "litellm.yaml"
    # JSON is YAML.
    config.write_text(json.dumps(settings))
    command = [binary, "--config", config, "--host", "127.0.0.1", "--port", str(port), "--telemetry", "False"]
    offline = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "NO_PROXY": "*", "LITELLM_LOG": "ERROR"}
    stand.chain.program(
        LITELLM, command, f"127.0.0.1:{port}", env={**os.environ, **offline}, cwd=stand.chain.folder
    )
    return f"127.0.0.1:{port}"
