"""How much is recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Plan:
    """The size of a run.

    Attributes:
        answers, draws: known answers, and how often each is given, with fresh gaps.
        prompts: of each topic; each has two answers.
        model_texts: texts that each model says.
        strict_draws, shaped_prompts, strict_model_texts: the same for `strict`; shaped_prompts for
            `balanced`, too. Their aims are close to chance: with few tries, a few lucky ones would miss them.
        longest: seconds of an answer at most.
        parallel: exchanges at once, by shape.
        conversations, tunnel_draws: conversations in tunnels, and how often each is held.
        tunnels: how many are open at once.
        idle_seconds: for which tunnels are open and nobody speaks.
        cpu_rounds, cpu_exchanges: for the CPU time, interleaved.
    """

    name: str
    answers: int
    draws: int
    prompts: int
    model_texts: int
    strict_draws: int
    shaped_prompts: int
    strict_model_texts: int
    longest: float
    parallel: Mapping[str, int]
    conversations: int
    tunnel_draws: int
    tunnels: int
    idle_seconds: float
    cpu_rounds: int
    cpu_exchanges: int


FULL: Final = Plan(
    name="full",
    answers=100,
    draws=5,
    prompts=20,
    model_texts=30,
    strict_draws=20,
    shaped_prompts=60,
    strict_model_texts=120,
    longest=40.0,
    parallel={"off": 30, "balanced": 80, "strict": 190},
    conversations=10,
    tunnel_draws=15,
    tunnels=30,
    idle_seconds=10.0,
    cpu_rounds=3,
    cpu_exchanges=40,
)
QUICK: Final = Plan(
    name="quick",
    answers=15,
    draws=3,
    prompts=2,
    model_texts=3,
    strict_draws=3,
    shaped_prompts=2,
    strict_model_texts=3,
    longest=12.0,
    parallel={"off": 40, "balanced": 120, "strict": 120},
    conversations=5,
    tunnel_draws=5,
    tunnels=25,
    idle_seconds=5.0,
    cpu_rounds=1,
    cpu_exchanges=20,
)
PLANS: Final = {plan.name: plan for plan in (FULL, QUICK)}
