"""A description of the stateless bodies of one API, from TOML (spec/protocol.md, section 11.5).

A file has these tables:

    [bodies], [forms], [messages]
        The rule for each path, for JSON bodies, form data and the messages of a WebSocket. A path is given by
        its end, such as "chat/completions" or "models/{model}:countTokens"; the longest match wins. An
        escaped slash is written %2F.
    [Name]
        A shape. Each key is a field, with its rule (rules.py).
        "$values", "$content" and "$stored" list fields with these three rules, and "$cache" those with
        "cache: value".
        "$like" starts from the fields of another shape.
        "$required" is a table of fields that must be given, each with the reason; "$with_id" is one of fields
        that an object with an id must have.
        With "$by" the keys are the types of an object, and "$otherwise" is the type of one that names none.
        "$salted" = true marks a body whose prompt the provider caches; it needs the salt, if there is one.

`extends` names the API that a file adds to; for a field in both, the later rule applies. `spelling = "camel
and snake"` allows both spellings of each field, as protobuf's JSON form does. `cache_salt` names the salt's
field, or is "off"; `cache_controls` is "pass" or "refuse" (section 11.5). Presets and configurations set
these two.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from blindrelay.provider_bridge.stateless.rules import (
    CACHE_CONTROL,
    CONTENT,
    SALT,
    SALT_REASON,
    VALUE,
    Rule,
    RuleError,
    Shape,
    parse_rule,
)

KINDS: Final = ("bodies", "forms", "messages")
CACHE_RULES: Final[tuple[str, ...]] = ("cache_salt", "cache_controls")
CACHE_CONTROLS: Final = ("pass", "refuse")
_SETTINGS: Final = ("extends", "spelling", *CACHE_RULES)
_GROUPS: Final = {"$values": "value", "$content": "content", "$stored": "stored", "$cache": "cache: value"}
_OTHER_KEYS: Final = frozenset({"$by", "$like", "$otherwise", "$required", "$salted", "$with_id"})
_CACHE: Final = "cache:"
_BOTH_SPELLINGS: Final = "camel and snake"
_NAME: Final = re.compile(r"[a-z_]+")
_CAPITAL: Final = re.compile(r"(?<!^)([A-Z])")

Table = Mapping[str, Any]
Layer = Mapping[str, Any]
"""One file: its tables by name."""


class DescriptionError(ValueError):
    """A description cannot be read. The text says why."""


class Description:
    """What is known to be stateless at one provider.

    Args:
        layers: the files' tables, beginning with the one that the others extend.

    Raises DescriptionError.
    """

    def __init__(self, layers: Iterable[Layer] = ()) -> None:
        self.layers = tuple(layers)
        self.shapes: dict[str, Shape] = {}
        self._paths: dict[str, list[tuple[str, re.Pattern[str], Rule]]] = {}
        try:
            self._compile()
        except RuleError as error:
            raise DescriptionError(str(error)) from None
        except (AttributeError, TypeError):
            raise DescriptionError("a rule is not a string, or a table is not a table") from None
        except RecursionError:
            raise DescriptionError("shapes are like each other in a circle") from None

    def rule(self, kind: str, path: str) -> Rule | None:
        """The rule for a body, a form or a message of a path; None if the path is not described."""
        return next((rule for _, ending, rule in self._paths[kind] if ending.fullmatch(path)), None)

    def salt_field(self, path: str) -> str | None:
        """The name of the field that the body of a path needs for the prompt cache, or None."""
        rule = self.rule("bodies", path)
        fields = {} if rule is None or rule.shape is None else rule.shape.fields
        return next((name for name, field in fields.items() if field.salt), None)

    def paths(self, kind: str) -> dict[str, Rule]:
        """The described paths by their ends."""
        return {path: rule for path, _, rule in self._paths[kind]}

    def extended(self, layer: Layer) -> Description:
        """This one with a layer on top. Raises DescriptionError."""
        return Description([*self.layers, layer]) if layer else self

    def _compile(self) -> None:
        merged = _merged(self.layers)
        salt = self._setting("cache_salt", "off")
        if salt != "off" and not any("$salted" in table for table in merged.values()):
            raise RuleError(f"no body that is described here takes the salt {salt}")
        self.shapes = {name: Shape(name) for name in merged if name[:1].isupper()}
        for name, shape in self.shapes.items():
            self._fill(shape, merged[name], merged)
        for kind in KINDS:
            rules = ((path, self._rule(rule, merged)) for path, rule in merged.get(kind, {}).items())
            paths = [(path, _ending(path), rule) for path, rule in rules]
            self._paths[kind] = sorted(paths, key=lambda path: -len(path[0]))

    def _fill(self, shape: Shape, table: Table, tables: Mapping[str, Table]) -> None:
        table = _inherited(table, tables)
        shape.by, shape.otherwise = table.get("$by"), table.get("$otherwise")
        shape.required = _one_line(table.get("$required", {}))
        shape.with_id = _one_line(table.get("$with_id", {}))
        for name, rule in table.items():
            if not name.startswith("$"):
                shape.fields[name] = self._rule(rule, tables)
            elif name not in _OTHER_KEYS:
                raise RuleError(f"{shape.name} has a key {name}, which has no meaning")
        if self._setting("spelling", "") == _BOTH_SPELLINGS and shape.by is None:
            shape.fields |= {_snake(name): rule for name, rule in shape.fields.items()}
        salt = self._setting("cache_salt", "off")
        if table.get("$salted") and salt != "off":
            shape.fields[salt] = SALT
            shape.required = shape.required | {salt: SALT_REASON}

    def _rule(self, rule: Any, tables: Mapping[str, Table]) -> Rule:
        if isinstance(rule, dict):
            shape = Shape("a nested shape")
            self._fill(shape, _expanded(rule), tables)
            return Rule(shape=shape)
        if str(rule).startswith(_CACHE):
            refuses = self._setting("cache_controls", "pass") == "refuse"
            return CACHE_CONTROL if refuses else self._rule(str(rule).removeprefix(_CACHE).strip(), tables)
        if rule == "value":
            return VALUE
        return CONTENT if rule == "content" else parse_rule(str(rule), self._find)

    def _find(self, name: str) -> Shape:
        if name not in self.shapes:
            raise RuleError(f"there is no shape {name}")
        return self.shapes[name]

    def _setting(self, name: str, default: str) -> str:
        """A key outside the tables, from the last layer that has it."""
        return next((str(layer[name]) for layer in reversed(self.layers) if name in layer), default)


@cache
def api_description(name: str) -> Description:
    """The description of a built-in API, such as openai. Raises DescriptionError."""
    return Description(_api_layers(name))


def read_description(path: Path, base: Description) -> Description:
    """An operator's file on top of `base`, or of the API that it extends.

    Raises DescriptionError, OSError.
    """
    try:
        layer = tomllib.loads(path.read_text("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DescriptionError(f"it is not TOML: {error}") from None
    extended = layer.get("extends")
    return Description([*(base.layers if extended is None else _api_layers(str(extended))), layer])


def _api_layers(name: str) -> list[Layer]:
    folder = files("blindrelay.provider_bridge.stateless").joinpath("apis")
    file = folder.joinpath(f"{name}.toml")
    if not _NAME.fullmatch(name) or not file.is_file():
        known = sorted(each.name.removesuffix(".toml") for each in folder.iterdir())
        raise DescriptionError(f'"{name}" is not one of {", ".join(known)}, and not a .toml file')
    layer = tomllib.loads(file.read_text("utf-8"))
    return [*(_api_layers(layer["extends"]) if "extends" in layer else []), layer]


def _merged(layers: Iterable[Layer]) -> dict[str, dict[str, Any]]:
    """The tables of all layers, with each group expanded. For each field the last layer wins."""
    merged: dict[str, dict[str, Any]] = {}
    for layer in layers:
        for name, table in layer.items():
            if isinstance(table, dict):
                merged.setdefault(name, {}).update(_expanded(table))
            elif name not in _SETTINGS:
                raise RuleError(f"the key {name} has no meaning")
            if not (name[:1].isupper() or name in (*KINDS, *_SETTINGS)):
                raise RuleError(f"the table [{name}] has no meaning; a shape's name begins with a capital")
    return merged


def _expanded(table: Mapping[str, Any]) -> dict[str, Any]:
    fields = {name: rule for group, rule in _GROUPS.items() for name in table.get(group, "").split()}
    return fields | {name: rule for name, rule in table.items() if name not in _GROUPS}


def _inherited(table: Table, tables: Mapping[str, Table]) -> Table:
    """The table with the fields of the shapes that it is like."""
    name = table.get("$like")
    if name is None:
        return table
    if name not in tables:
        raise RuleError(f"there is no shape {name}")
    return {**_inherited(tables[name], tables), **table}


def _one_line(reasons: Mapping[str, str]) -> dict[str, str]:
    return {name: " ".join(reason.split()) for name, reason in reasons.items()}


def _ending(path: str) -> re.Pattern[str]:
    literals = (_literal(literal) for literal in re.split(r"\{[a-z_]+\}", path))
    return re.compile("(?:.*/)?" + "[^/]+".join(literals))


def _literal(text: str) -> str:
    """A pattern for a path's literal text: a colon may be escaped, and an escape has two spellings."""
    return re.escape(text).replace(":", "(?::|%3[Aa])").replace("%2F", "%2[Ff]")


def _snake(name: str) -> str:
    return _CAPITAL.sub(r"_\1", name).lower()
