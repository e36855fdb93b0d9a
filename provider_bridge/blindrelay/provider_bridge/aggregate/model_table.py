"""The models that the aggregated address serves: public names, and the targets behind each."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

NAME: Final = re.compile(r"[\x21-\x7e]{1,256}")
"""A model's name: printable ASCII without spaces."""

STAR: Final = "*"


@dataclass(frozen=True)
class Target:
    """A model at a provider.

    Attributes:
        provider: the name of its [[provider]] entry.
        model: the provider's own name of it. A * in it, of a wildcard's target, is what the name's * matched.
        weight: its share of the calls, among targets of the same priority.
        priority: targets with a lower number go first.
    """

    provider: str
    model: str
    weight: int = 1
    priority: int = 0


@dataclass(frozen=True)
class Model:
    """An entry of the table. Its name may have one *, which matches one or more characters."""

    name: str
    targets: tuple[Target, ...]
    aliases: tuple[str, ...] = ()

    @property
    def is_wildcard(self) -> bool:
        return STAR in self.name

    def matched(self, name: str) -> str | None:
        """What the * of the name stands for, or None if the name is another one."""
        before, _, after = self.name.partition(STAR)
        if len(name) <= len(before) + len(after) or not (name.startswith(before) and name.endswith(after)):
            return None
        return name[len(before) : len(name) - len(after)]


class ModelTable:
    """Finds the targets of a name: an exact name or alias first, then the wildcard with the longest text."""

    def __init__(self, models: Iterable[Model]) -> None:
        self.models = tuple(models)
        self._exact = {
            name: model
            for model in self.models
            if not model.is_wildcard
            for name in (model.name, *model.aliases)
        }
        wildcards = (model for model in self.models if model.is_wildcard)
        self._wildcards = sorted(wildcards, key=lambda model: -len(model.name))

    def targets(self, name: str) -> tuple[Target, ...]:
        """The targets of a name, with the model that each is asked for; none if it is not in the table."""
        if (model := self._exact.get(name)) is not None:
            return model.targets
        if not NAME.fullmatch(name):
            return ()
        for model in self._wildcards:
            if (matched := model.matched(name)) is not None:
                return tuple(
                    replace(target, model=target.model.replace(STAR, matched)) for target in model.targets
                )
        return ()
