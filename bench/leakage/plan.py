"""How much is recorded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Plan:
    """The size of a run.

    Attributes:
        answers, draws: known answers, and how often each is given, with fresh gaps.
        prompts: of each topic; each has two answers.
        model_texts: texts that each model says.
        longest: seconds of an answer at most.
        parallel, off_parallel: exchanges at once, shaped and unshaped.
        cpu_rounds, cpu_exchanges: for the CPU time, interleaved.
    """

    name: str
    answers: int
    draws: int
    prompts: int
    model_texts: int
    longest: float
    parallel: int
    off_parallel: int
    cpu_rounds: int
    cpu_exchanges: int


FULL: Final = Plan(
    name="full",
    answers=100,
    draws=5,
    prompts=20,
    model_texts=30,
    longest=40.0,
    parallel=60,
    off_parallel=30,
    cpu_rounds=3,
    cpu_exchanges=40,
)
QUICK: Final = Plan(
    name="quick",
    answers=15,
    draws=3,
    prompts=2,
    model_texts=3,
    longest=12.0,
    parallel=120,
    off_parallel=40,
    cpu_rounds=1,
    cpu_exchanges=20,
)
PLANS: Final = {plan.name: plan for plan in (FULL, QUICK)}
