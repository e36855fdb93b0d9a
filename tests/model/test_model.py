"""The symbolic model: every property holds in every state, and each mutant breaks the listed ones.

docs/model.md has the same figures; the last test compares them.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from .explorer import Exploration, TooManyStatesError, constants, explore, mutants

pytestmark = pytest.mark.timeout(900)  # a search is pure computation

PROTOCOL = "SCENARIOS"
PAGE = Path(__file__).parents[2] / "docs/model.md"

AFTER_THEFT = {"pastEpochKept", "presentEpochExposed", "openExchangeExposed", "stolenKeyDeceives"}
AFTER_RESTART = {"completedAfterRestart", "hiddenAnswerAndRestart"}

# Each start, and what must be reachable from it: properties hold trivially if nothing happens.
REACHABLE = {
    "records": {"callAnswered"},
    "exchanges": {"callAnswered", "allAnswered", "attackerIsServed", "attackerTakesId"},
    "replicas": {"callAnswered", "allAnswered", "attackerIsServed", "attackerTakesId"},
    "directories": {"callAnswered", "honestAmidForgeries"},
    "erasure": {"callAnswered"} | AFTER_THEFT,
    "epochs": {"callAnswered", "allAnswered"} | AFTER_THEFT,
    "restarts": {"callAnswered"} | AFTER_RESTART,
    "restartedBefore": {"callAnswered"} | AFTER_RESTART,
    "restartsOfTwo": {"callAnswered", "allAnswered", "twoHiddenAnswersAndOneRestart"} | AFTER_RESTART,
}

# Each mutant: the start of its search, and everything that it breaks.
SUBSTITUTED = {"onlyPinnedKeys", "requestSecrecy", "answerBoundToRequest"}
MUTANTS = {
    "FIRST-PART-IN-THE-OPEN": ("exchanges", {"requestSecrecy"}),
    "ERROR-IN-THE-OPEN": ("exchanges", {"answerSecrecy"}),
    "ONE-KEY-FOR-BOTH-DIRECTIONS": ("exchanges", {"answerBoundToRequest"}),
    "NO-CLAIM": ("exchanges", {"noReplay"}),
    "KEYS-SURVIVE-RESTART": ("restarts", {"noReplay"}),
    "ENVELOPE-NOT-BOUND": ("exchanges", {"noReplay", "noCrossExchange"}),
    "REQUEST-ENDS-WITH-THE-STREAM": ("exchanges", {"noTruncation"}),
    "ANSWER-ENDS-WITH-THE-STREAM": ("exchanges", {"noTruncation"}),
    "ANSWERS-UNDER-ONE-KEY": ("exchanges", {"noCrossExchange"}),
    "KEYS-NOT-BOUND-TO-EXCHANGE": ("exchanges", {"noCrossExchange", "noReplay", "answerBoundToRequest"}),
    "KEY-KEPT-AFTER-EPOCH": ("erasure", {"forwardSecrecy"}),
    "SECRET-KEPT-AFTER-EXCHANGE": ("erasure", {"forwardSecrecy"}),
    "SEALED-AGAIN-ON-KEY-UNKNOWN": ("restarts", {"sealedAgainOnlyAfterRestart"}),
    "SEALED-AGAIN-WHEN-UNLISTED": ("restarts", {"sealedAgainOnlyAfterRestart"}),
    "ANY-IDENTITY": ("directories", SUBSTITUTED),
    "DELEGATION-UNSIGNED": ("directories", SUBSTITUTED),
    "DIRECTORY-UNSIGNED": ("directories", SUBSTITUTED),
    "RECORDS-IN-ANY-ORDER": ("records", {"orderAndEnd"}),
    "RECORDS-AFTER-FINAL": ("exchanges", {"orderAndEnd"}),
    "SHARED-KEY-WITHOUT-NONCE": ("exchanges", {"noCrossExchange", "nonceOnce"}),
    "ANSWERED-TWICE-WITHOUT-NONCE": ("exchanges", {"noReplay", "nonceOnce"}),
    "ONE-SECRET-FOR-ALL-EXCHANGES": ("exchanges", set()),
    "NO-HASH-IN-KEYS": ("exchanges", set()),
    "NO-RESPONSE-NONCE": ("exchanges", set()),
}


@pytest.mark.parametrize("start", REACHABLE)
def test_no_state_breaks_a_property(start: str) -> None:
    assert explore(PROTOCOL, start).broken == {}


@pytest.mark.parametrize("start", REACHABLE)
def test_goals_are_reached(start: str) -> None:
    assert explore(PROTOCOL, start).shown.keys() == REACHABLE[start]


@pytest.mark.parametrize("mutant", MUTANTS)
def test_mutant_is_caught(mutant: str) -> None:
    start, broken = MUTANTS[mutant]
    assert explore(mutant, start).broken.keys() == broken


def test_each_property_has_a_mutant_and_each_goal_a_start() -> None:
    assert set.union(*(broken for _, broken in MUTANTS.values())) == constants("Property")
    assert set.union(*REACHABLE.values()) == constants("Goal")
    assert REACHABLE.keys() == constants("World")
    assert MUTANTS.keys() == mutants()


def test_incomplete_search_is_an_error() -> None:
    whole = explore(PROTOCOL, "directories").states
    assert explore(PROTOCOL, "directories", most_states=whole).states == whole
    with pytest.raises(TooManyStatesError):
        explore(PROTOCOL, "directories", most_states=whole - 1)


def test_path_to_a_broken_property_is_returned() -> None:
    mutant = explore("REQUEST-ENDS-WITH-THE-STREAM", "exchanges")
    assert mutant.broken["noTruncation"] == ("client-seals", "bridge-claims", "bridge-calls-the-provider")


def test_page_has_the_figures_of_these_searches() -> None:
    page = PAGE.read_text()
    for start in REACHABLE:
        assert f"| `{start}` | {explore(PROTOCOL, start).states:,} |" in page
    for mutant, (start, _) in MUTANTS.items():
        assert _row(mutant, start, explore(mutant, start)) in page


def _row(mutant: str, start: str, exploration: Exploration) -> str:
    broken = ", ".join(f"`{name}`" for name in sorted(exploration.broken)) or "nothing"
    return f"| `{mutant}` | `{start}` | {exploration.states:,} | {broken} |"
