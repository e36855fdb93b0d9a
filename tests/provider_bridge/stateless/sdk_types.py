"""Finds fields of an SDK's request type that a description names neither as stateless nor as stored.

A type is a scalar, a file, a list, a map, a union, a TypedDict, a pydantic model, or anything at all.
"""

from __future__ import annotations

import collections.abc
import enum
import os
import types
import typing
from collections.abc import Iterator
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin

import typing_extensions

from blindrelay.provider_bridge.stateless.rules import Rule, Shape

_LISTS = (list, tuple, set, collections.abc.Iterable, collections.abc.Sequence)
_MAPS = (dict, collections.abc.Mapping)
_SCALARS = (str, int, float, bool, bytes, type(None))
_LITERALS = (Literal, typing_extensions.Literal)
_WRAPPERS = (
    *(typing.Annotated, typing.Required, typing.NotRequired),
    *(typing_extensions.Required, typing_extensions.NotRequired, typing_extensions.ReadOnly),
)
_UNIONS = (Union, types.UnionType)
_FILES = (os.PathLike, typing.IO)

Seen = set[tuple[Any, int]]


@cache
def fields_of(model: Any) -> dict[str, Any]:
    """The annotations of a TypedDict's or a model's fields, by their names on the wire."""
    fields = getattr(model, "model_fields", None) or getattr(model, "__pydantic_fields__", None)
    if fields is not None:
        return {field.alias or name: field.annotation for name, field in fields.items()}
    return typing.get_type_hints(model, include_extras=True)


def gaps(annotation: Any, rule: Rule, place: str = "", seen: Seen | None = None) -> Iterator[str]:
    """The places that the description does not cover, such as ".tools[].container"."""
    seen = set() if seen is None else seen
    if rule.content or rule.file or rule.stored is not None:
        return
    annotation = _unwrapped(annotation)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in _UNIONS:
        for option in arguments:
            yield from () if option is type(None) else gaps(option, rule, place, seen)
    elif origin in _LISTS:
        items = rule if rule.items is None and rule.value else rule.items
        yield from [f"{place}[]"] if items is None else gaps(arguments[0], items, f"{place}[]", seen)
    elif origin in _MAPS:
        yield from [f"{place}{{}}"] if rule.values is None else gaps(arguments[1], rule.values, place, seen)
    elif typing_extensions.is_typeddict(annotation) or hasattr(annotation, "model_fields"):
        yield from _field_gaps(annotation, rule, place, seen)
    elif not _takes(annotation, rule):
        yield f"{place} ({annotation})"


def _unwrapped(annotation: Any) -> Any:
    """What an alias, an alias with parameters (Nullable[T]) or a wrapper stands for."""
    while True:
        origin = get_origin(annotation)
        if isinstance(annotation, typing_extensions.TypeAliasType):
            annotation = annotation.__value__
        elif isinstance(origin, typing_extensions.TypeAliasType) or origin in _WRAPPERS:
            annotation = get_args(annotation)[0]
        else:
            return annotation


def _takes(annotation: Any, rule: Rule) -> bool:
    if get_origin(annotation) in _FILES or annotation in _FILES:
        return rule.value
    known = get_origin(annotation) in _LITERALS or annotation in _SCALARS
    if known or (isinstance(annotation, type) and issubclass(annotation, (enum.Enum, *_SCALARS))):
        return rule.value or rule.false or bool(rule.literals)
    return False


def _literals(annotation: Any) -> Iterator[Any]:
    """The values that a literal field may have; none if it is not literal."""
    annotation = _unwrapped(annotation)
    if get_origin(annotation) in _LITERALS:
        yield from get_args(annotation)
    elif get_origin(annotation) in _UNIONS:
        for argument in get_args(annotation):
            yield from _literals(argument)


def _field_gaps(model: Any, rule: Rule, place: str, seen: Seen) -> Iterator[str]:
    if rule.shape is None:
        yield f"{place} ({model.__name__})"
        return
    if (model, id(rule.shape)) in seen:
        return
    seen.add((model, id(rule.shape)))
    if rule.shape.by is not None:
        yield from _type_gaps(model, rule.shape, rule.shape.by, place, seen)
        return
    for name, annotation in fields_of(model).items():
        field = rule.shape.fields.get(name)
        if field is not None:
            yield from gaps(annotation, field, f"{place}.{name}", seen)
        elif name not in ("type", "role"):
            yield f"{place}.{name} of {model.__name__}"


def _type_gaps(model: Any, shape: Shape, by: str, place: str, seen: Seen) -> Iterator[str]:
    kinds = list(_literals(fields_of(model).get(by))) or ([shape.otherwise] if shape.otherwise else [])
    if not kinds:
        yield f"{place} of {model.__name__}, which does not say its {by}"
    for kind in kinds:
        if (alternative := shape.fields.get(str(kind))) is None:
            yield f"{place} of {by} {kind}"
        else:
            yield from gaps(model, alternative, place, seen)
