"""Checks a parsed JSON value against a rule (spec/protocol.md, section 11.5)."""

from __future__ import annotations

import re
from typing import Any, Final

from blindrelay.provider_bridge.stateless.json_body import KEPT_OF_LONG
from blindrelay.provider_bridge.stateless.rules import SALT_FORM, SALT_REASON, STORED, Rule, Shape

BROUGHT: Final = "bring your own credential (credentials=brought)"
_UNKNOWN: Final = (
    f"is not known to be stateless: leave it out, {BROUGHT}, or ask the bridge's operator to describe it"
)
_LEAVE_OUT: Final = f"Leave it out, or {BROUGHT}"
_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9_.$-]{1,64}")
_MAX_NAME: Final = 64
"""Characters of a client's name or type that an error quotes."""
_SCALARS: Final = frozenset({str, int, float, bool, type(None)})

Place = tuple[Any, str | int] | None
"""Where a value is: the place of its container, and its name or index there; None for the body itself."""


class StoredObjectError(ValueError):
    """The body stores something, or may refer to something stored. The text says where and what to do."""


def check_json(body: Any, rule: Rule, what: str = "body") -> None:
    """Checks a complete body or message. Raises StoredObjectError.

    It does not recurse: the client chooses the depth of a body.
    """
    if not isinstance(body, dict) and not rule.content:
        raise StoredObjectError(f"the {what} is not a JSON object")
    waiting: list[tuple[Any, Rule, Place]] = [(body, rule, None)]
    while waiting:
        value, rule, place = waiting.pop()
        if rule.content or value is None:
            continue
        if rule.stored is not None:
            check_stored(value, rule.stored, place)
        elif rule.salt:
            _check_salt(value, place)
        elif isinstance(value, dict):
            waiting += _members(value, rule, place)
        elif isinstance(value, list):
            waiting += _items(value, rule, place)
        else:
            _check_scalar(value, rule, place)


def check_stored(value: Any, reason: str, place: Place) -> None:
    """Refuses all but a value that counts as absent. Raises StoredObjectError."""
    if value is not False and value not in ("", []):
        raise StoredObjectError(f"{_written(place)} {reason}. {_LEAVE_OUT}")


def _check_salt(value: Any, place: Place) -> None:
    if not isinstance(value, str) or not SALT_FORM.fullmatch(value):
        raise StoredObjectError(f"{_written(place)} is not a salt: {SALT_REASON}")


def refuse_unknown(place: Place) -> StoredObjectError:
    """The error for a value that no rule describes."""
    return StoredObjectError(f"{_written(place)} {_UNKNOWN}")


def _check_scalar(value: Any, rule: Rule, place: Place) -> None:
    if rule.value and rule.without is not None:
        _check_without(value, rule.without, place)
        return
    if rule.value or (rule.false and value is False):
        return
    if isinstance(value, str) and value in rule.literals:
        return
    if rule.false:
        name = _name(place[1] if place else "it")
        raise StoredObjectError(f'{_written(place)} asks the provider to store: set "{name}" to false')
    if rule.literals:
        allowed = " or ".join(sorted(rule.literals))
        raise StoredObjectError(f"{_written(place)} may be {allowed} only, or {BROUGHT}")
    raise refuse_unknown(place)


def _check_without(value: Any, text: str, place: Place) -> None:
    """A long string may contain the text: the parser has not kept it."""
    if isinstance(value, str) and (text in value.lower() or KEPT_OF_LONG in value):
        raise StoredObjectError(f'{_written(place)} with "{text}" {STORED}. {_LEAVE_OUT}')


def _items(value: list[Any], rule: Rule, place: Place) -> list[tuple[Any, Rule, Place]]:
    items = rule if rule.items is None and rule.value else rule.items
    if items is None:
        raise refuse_unknown(place)
    if items.value and items.without is None and _SCALARS.issuperset(map(type, value)):
        return []
    return [(item, items, (place, index)) for index, item in enumerate(value)]


def _members(value: dict[str, Any], rule: Rule, place: Place) -> list[tuple[Any, Rule, Place]]:
    if rule.values is not None:
        return [(member, rule.values, (place, key)) for key, member in value.items()]
    if rule.shape is None:
        raise refuse_unknown(place)
    shape, types = rule.shape, set[str]()
    while shape.by is not None:
        types.add(shape.by)
        rule = _of_type(value, shape, shape.by, place)
        if rule.shape is None:
            return []
        shape = rule.shape
    _check_required(value, shape, place)
    members: list[tuple[Any, Rule, Place]] = []
    for key, member in value.items():
        field = shape.fields.get(key)
        if field is not None:
            members.append((member, field, (place, key)))
        elif member is not None and key not in types:
            raise refuse_unknown((place, key))
    return members


def _of_type(value: dict[str, Any], shape: Shape, by: str, place: Place) -> Rule:
    """The rule for an object of its type."""
    given = value.get(by)
    kind = shape.otherwise if given is None else given
    rule = shape.fields.get(kind) if isinstance(kind, str) else None
    if rule is not None and (rule.content or rule.shape is not None):
        return rule
    where = _written(place) if place else "the message"
    what = f"{where} without a {by}" if given is None else f"{where} of {by} {_name(given)}"
    if rule is not None and rule.stored is not None:
        raise StoredObjectError(f"{what} {rule.stored}. {_LEAVE_OUT}")
    raise StoredObjectError(f"{what} {_UNKNOWN}")


def _check_required(value: dict[str, Any], shape: Shape, place: Place) -> None:
    required = shape.required | (shape.with_id if value.get("id") else {})
    for name, reason in required.items():
        if value.get(name) in (None, "", []):
            raise StoredObjectError(f"{_written((place, name))} is missing: {reason}")


def _written(place: Place) -> str:
    """Such as input[3].content[0].file_id."""
    steps: list[str] = []
    while place is not None:
        place, step = place
        steps.append(f"[{step}]" if isinstance(step, int) else f".{_name(step)}")
    return "".join(reversed(steps)).removeprefix(".") or "the body"


def _name(name: Any) -> str:
    """A name as the client wrote it, or in ASCII with escapes where it could not be read."""
    if not isinstance(name, str):
        return "that is not a string"
    return name if _PLAIN_NAME.fullmatch(name) else ascii(name[:_MAX_NAME])[:_MAX_NAME]
