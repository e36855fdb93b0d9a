"""Finds fields of an SDK's request type that a description names neither as stateless nor as stored.

First a type is reduced to what a description can say about it: VALUE (a string, number or boolean), CONTENT
(anything), FILE, a ListOf, a MapOf, a Choice of several, or a Struct. A Struct reads its fields when it is
asked: types refer to each other.
"""

from __future__ import annotations

import collections.abc
import enum
import os
import types
import typing
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias, Union, get_args, get_origin

import typing_extensions

from blindrelay.provider_bridge.stateless.rules import Rule, Shape

VALUE, CONTENT, FILE = "value", "content", "file"

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


@dataclass(frozen=True)
class ListOf:
    item: Node


@dataclass(frozen=True)
class MapOf:
    value: Node


@dataclass(frozen=True)
class Choice:
    options: tuple[Node, ...]


@dataclass(frozen=True)
class Struct:
    """A TypedDict or a pydantic model."""

    model: Any

    @property
    def name(self) -> str:
        return str(self.model.__name__)

    @cached_property
    def annotations(self) -> dict[str, Any]:
        """The fields' annotations by their names on the wire."""
        fields = getattr(self.model, "model_fields", None) or getattr(self.model, "__pydantic_fields__", None)
        if fields is not None:
            return {field.alias or name: field.annotation for name, field in fields.items()}
        return typing.get_type_hints(self.model, include_extras=True)

    @cached_property
    def fields(self) -> dict[str, Node]:
        return {name: read(annotation) for name, annotation in self.annotations.items()}


Node: TypeAlias = str | ListOf | MapOf | Choice | Struct


def read(annotation: Any) -> Node:
    """Reduces one type annotation."""
    annotation = _unwrapped(annotation)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation in _SCALARS or origin in _LITERALS:
        return VALUE
    if origin in _UNIONS:
        return _choice(read(argument) for argument in arguments if argument is not type(None))
    if origin in _LISTS:
        return ListOf(read(arguments[0])) if arguments else ListOf(CONTENT)
    if origin in _MAPS:
        return MapOf(read(arguments[1])) if arguments else CONTENT
    if origin in _FILES or annotation in _FILES:
        return FILE
    if not isinstance(annotation, type):
        return CONTENT
    if typing_extensions.is_typeddict(annotation) or hasattr(annotation, "model_fields"):
        return Struct(annotation)
    return VALUE if issubclass(annotation, (enum.Enum, *_SCALARS)) else CONTENT


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


def _choice(nodes: Iterable[Node]) -> Node:
    flat: list[Node] = []
    for node in nodes:
        options = node.options if isinstance(node, Choice) else (node,)
        flat += [each for each in options if each not in flat]
    return flat[0] if len(flat) == 1 else Choice(tuple(flat))


def _literals(annotation: Any) -> Iterator[Any]:
    """The values that a literal field may have; none if it is not literal."""
    annotation = _unwrapped(annotation)
    if get_origin(annotation) in _LITERALS:
        yield from get_args(annotation)
    elif get_origin(annotation) in _UNIONS:
        for argument in get_args(annotation):
            yield from _literals(argument)


def gaps(node: Node, rule: Rule, place: str = "", seen: set[tuple[Node, int]] | None = None) -> Iterator[str]:
    """The places that the description does not cover, such as ".tools[].container"."""
    seen = set() if seen is None else seen
    if rule.content or rule.file or rule.stored is not None:
        return
    if isinstance(node, Choice):
        for option in node.options:
            yield from gaps(option, rule, place, seen)
    elif isinstance(node, ListOf):
        items = rule if rule.items is None and rule.value else rule.items
        yield from [f"{place}[]"] if items is None else gaps(node.item, items, f"{place}[]", seen)
    elif isinstance(node, MapOf):
        yield from [f"{place}{{}}"] if rule.values is None else gaps(node.value, rule.values, place, seen)
    elif isinstance(node, Struct):
        yield from _struct_gaps(node, rule, place, seen)
    elif node == CONTENT or not (rule.value or (node == VALUE and (rule.false or rule.literals))):
        yield f"{place} ({node})"


def _struct_gaps(node: Struct, rule: Rule, place: str, seen: set[tuple[Node, int]]) -> Iterator[str]:
    if rule.shape is None:
        yield f"{place} ({node.name})"
        return
    if (node, id(rule.shape)) in seen:
        return
    seen.add((node, id(rule.shape)))
    if rule.shape.by is not None:
        yield from _type_gaps(node, rule.shape, rule.shape.by, place, seen)
        return
    for name, member in node.fields.items():
        field = rule.shape.fields.get(name)
        if field is not None:
            yield from gaps(member, field, f"{place}.{name}", seen)
        elif name not in ("type", "role"):
            yield f"{place}.{name} of {node.name}"


def _type_gaps(node: Struct, shape: Shape, by: str, place: str, seen: set[tuple[Node, int]]) -> Iterator[str]:
    kinds = list(_literals(node.annotations.get(by))) or ([shape.otherwise] if shape.otherwise else [])
    if not kinds:
        yield f"{place} of {node.name}, which does not say its {by}"
    for kind in kinds:
        if (alternative := shape.fields.get(str(kind))) is None:
            yield f"{place} of {by} {kind}"
        else:
            yield from gaps(node, alternative, place, seen)
