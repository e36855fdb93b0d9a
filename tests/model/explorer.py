"""Searches all states of the symbolic model in spec/model/, and reports the properties that break.

Maude has one interpreter per process: the model is loaded once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import maude

MODEL = Path(__file__).parents[2] / "spec/model/blindrelay.maude"
MOST_STATES = 25_000  # a little more than the widest start has; a state takes a few kilobytes

Rules = tuple[str, ...]


class TooManyStatesError(Exception):
    """The search ended before it had seen every state, so it proves nothing."""


@dataclass(frozen=True)
class Exploration:
    """The result of a complete search.

    `broken` has each property that some state breaks, `shown` each goal that some state reaches, with the
    names of the rules on a shortest path there.
    """

    states: int
    broken: dict[str, Rules]
    shown: dict[str, Rules]


@cache
def explore(module: str, start: str, most_states: int = MOST_STATES) -> Exploration:
    """Visits every state of `module` that can be reached from `start`, breadth first.

    Raises TooManyStatesError beyond `most_states`.
    """
    model = _module(module)
    breaks, shows = _Question(model, "breaks", "Property"), _Question(model, "shows", "Goal")
    states = 0
    for state, way in _states(model, start):
        states += 1
        if states > most_states:
            raise TooManyStatesError(f"{module} from {start}: more than {most_states} states")
        breaks.ask(state, way)
        shows.ask(state, way)
    return Exploration(states, breaks.found, shows.found)


@cache
def constants(sort: str) -> frozenset[str]:
    """The names of the constants that the model declares of a sort: Property, Goal or World."""
    return frozenset(
        str(symbol)
        for symbol in _module("SCENARIOS").getSymbols()
        if symbol.arity() == 0 and str(symbol.getRangeSort()) == sort and str(symbol) != sort
    )


def mutants() -> frozenset[str]:
    """The names of the modules that take something out of the protocol."""
    lines = MODEL.with_name("mutants.maude").read_text().splitlines()
    return frozenset(line.split()[1] for line in lines if line.startswith("mod "))


class _Question:
    """A predicate of the model over states and names, evaluated until it is true for each name.

    In most states it is false for all that are left, which one term asks at once.
    """

    def __init__(self, model: Any, predicate: str, sort: str) -> None:
        self.found: dict[str, Rules] = {}
        self._model = model
        self._state = model.parseTerm("W:World")
        self._open = {name: f"{predicate}(W:World, {name})" for name in sorted(constants(sort))}
        self._any = self._any_of_open()

    def ask(self, state: Any, way: Callable[[], Rules]) -> None:
        """Raises ValueError if the model's equations do not give true or false."""
        substitution = maude.Substitution({self._state: state})
        if _value(self._any, substitution) == "false":
            return
        for name, asked in list(self._open.items()):
            value = _value(self._model.parseTerm(asked), substitution)
            if value == "true":
                self.found[name] = way()
                del self._open[name]
            elif value != "false":
                raise ValueError(f"neither true nor false: {value}")
        self._any = self._any_of_open()

    def _any_of_open(self) -> Any:
        text = "false"
        for asked in self._open.values():
            text = f"if {asked} then true else {text} fi"
        return self._model.parseTerm(text)


def _value(term: Any, substitution: Any) -> str:
    result = substitution.instantiate(term)
    result.reduce()
    return str(result)


def _states(model: Any, start: str) -> Iterator[tuple[Any, Callable[[], Rules]]]:
    """Every reachable state, and a function that returns the rules on a shortest path to it."""
    first = model.parseTerm(start)
    first.reduce()
    for state, _, path, _ in first.search(maude.ANY_STEPS, model.parseTerm("W:World")):
        yield state, partial(_rules, path)


def _rules(path: Callable[[], list[Any]]) -> Rules:
    return tuple(rule.getLabel() for rule in path()[1::2])  # state, rule, state, ..., state


@cache
def _module(name: str) -> Any:
    _load()
    module = maude.getModule(name)
    if module is None:
        raise ValueError(f"the model has no module {name}")
    return module


@cache
def _load() -> None:
    if not maude.init(advise=False) or not maude.load(str(MODEL)):
        raise RuntimeError(f"Maude could not load {MODEL}")
