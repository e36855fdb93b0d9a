"""The rules of a description: which values a field may have.

A rule is a string, or an inline table of fields. Its alternatives are separated by "|", at most one for each
kind of JSON value:

    value           a string, number or boolean, or a list of these: nothing with fields of its own
    value without 'text'
                    the same, but no string with this text in it, in any case
    content         anything: the application's own text, schemas, arguments, data
    false           false alone
    'text'          this string alone
    Name            an object with the fields of the shape of that name
    [RULE], {RULE}  a list of RULE; an object with any keys, each RULE
    file            in forms, a part with a file name
    stored, stored: REASON
                    something that the provider stores, or a reference to it: never allowed
    cache: RULE     controls the provider's prompt cache: RULE, unless `cache_controls` refuses it

Null always counts as absent. For a rule that says stored, so do "", [] and false.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

STORED: Final = "refers to something that the provider stores"

_SHAPE: Final = re.compile(r"[A-Z][A-Za-z0-9]*")
_WITHOUT: Final = re.compile(r"value without '([^']+)'")
_LITERAL: Final = re.compile(r"'([^']*)'")


class RuleError(ValueError):
    """A rule cannot be read. The text says why."""


@dataclass(frozen=True)
class Rule:
    """What a field may hold.

    Attributes:
        content: anything passes.
        stored: why nothing passes, or None.
        value: any string, number or boolean passes, and lists of these.
        without: text in lower case that these strings must not contain, or None. Not for forms.
        false: false passes.
        literals: further strings that pass.
        file: in a form, the part has to be a file.
        salt: a string that nobody can guess passes.
        items: the rule for a list's items; None if a list does not pass.
        shape: the shape of an object; None if an object does not pass, unless values is given.
        values: the rule for each value of an object with any keys.
    """

    content: bool = False
    stored: str | None = None
    value: bool = False
    without: str | None = None
    false: bool = False
    literals: frozenset[str] = frozenset()
    file: bool = False
    salt: bool = False
    items: Rule | None = None
    shape: Shape | None = None
    values: Rule | None = None


@dataclass(eq=False)
class Shape:
    """An object's fields, or the rules for each of its types.

    Attributes:
        fields: by name; or by type, if `by` is given.
        required: fields that must not be missing or empty, each with the reason.
        with_id: the same for an object with an `id`, by which alone the provider would look it up.
        by: the name of the field with the type; None for a plain object.
        otherwise: the type of an object that has no such field.
    """

    name: str
    fields: dict[str, Rule] = field(default_factory=dict)
    required: dict[str, str] = field(default_factory=dict)
    with_id: dict[str, str] = field(default_factory=dict)
    by: str | None = None
    otherwise: str | None = None


VALUE: Final = Rule(value=True)
CONTENT: Final = Rule(content=True)
CACHE_CONTROL: Final = Rule(stored="controls a cache that all customers share")

SALT: Final = Rule(salt=True)
SALT_FORM: Final = re.compile(r"[A-Za-z0-9_-]{32,512}")
"""Long enough not to be guessed. DeepSeek accepts no other characters, and no more than 512."""
SALT_REASON: Final = (
    "it must be a secret of 32 to 512 letters, digits, - and _, so that no other customer finds your prompts "
    "in the provider's cache. The client library sets it for hosts that its option cache_salt names; other "
    "clients set it in the body"
)


def parse_rule(text: str, find: Callable[[str], Shape]) -> Rule:
    """Reads a rule. `find` gives the shape of a name. Raises RuleError."""
    if text == "stored" or text.startswith("stored:"):
        return Rule(stored=" ".join(text.partition(":")[2].split()) or STORED)
    merged: dict[str, object] = {}
    for alternative in _alternatives(text):
        for name, value in _alternative(alternative, find).items():
            if name == "literals" and name in merged:
                value = merged[name] | value  # type: ignore[operator]
            elif name in merged:
                raise RuleError(f'"{text}" has two alternatives for one kind of value')
            merged[name] = value
    return Rule(**merged)  # type: ignore[arg-type]


def _alternative(text: str, find: Callable[[str], Shape]) -> Mapping[str, object]:
    if text in ("value", "content", "false", "file"):
        return {text: True}
    if without := _WITHOUT.fullmatch(text):
        return {"value": True, "without": without[1].lower()}
    if literal := _LITERAL.fullmatch(text):
        return {"literals": frozenset({literal[1]})}
    if text.startswith("[") and text.endswith("]"):
        return {"items": parse_rule(text[1:-1], find)}
    if text.startswith("{") and text.endswith("}"):
        return {"values": parse_rule(text[1:-1], find)}
    if _SHAPE.fullmatch(text):
        return {"shape": find(text)}
    raise RuleError(f'"{text}" is not a rule')


def _alternatives(text: str) -> list[str]:
    """The text split at each "|" that is outside brackets."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "[{") - (character in "]}")
        if character == "|" and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]
