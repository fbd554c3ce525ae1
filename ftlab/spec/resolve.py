"""Resolve `methods:` into arms: check every entry against its ranged form, expand it, and check every point."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from ftlab.catalog import METHODS, suggest
from ftlab.errors import FtlabError, Problem
from ftlab.spec.problems import problems_from
from ftlab.spec.scalars import found_value, shown
from ftlab.spec.schema import MethodConfig, TrainFields, TrainSpec
from ftlab.spec.searches import Dimension, SearchSpec, read_dimensions, search_problems
from ftlab.spec.space import RESERVED, count_points, points, ranged_form, ranges, sample_point
from ftlab.spec.tree import Node, dotted

MAX_ARMS = 10_000
"""How many arms one spec may expand to, seeds and models not counted."""

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class ResolvedMethod:
    """One point of a method: a config with every field filled in."""

    name: str
    """The entry under `methods:`."""
    config: MethodConfig
    varied: dict[str, Any]
    """The fields that a grid or a variant gave a value, by dotted path."""
    place: str
    """`file:line:col` of the entry."""
    index: int
    """The position of this point within its method, from 0."""


@dataclass(frozen=True)
class SearchedMethod:
    """A method whose arms a search will propose."""

    name: str
    search: SearchSpec
    place: str
    dimensions: tuple[Dimension, ...]
    fields: dict[str, Any]
    """The method's own values over those of `train:`, ranges included; a proposal replaces each range by a value."""
    sample: MethodConfig
    """One point of the space, to check and to reckon with before there is a proposal."""


def resolve_methods(tree: Node, problems: list[Problem]) -> tuple[list[ResolvedMethod], list[SearchedMethod]]:
    """Every arm and every search under `methods:`. What is wrong goes to `problems`, its method being left out."""
    methods = tree.child("methods")
    arms: list[ResolvedMethod] = []
    searches: list[SearchedMethod] = []
    if methods is None or not isinstance(methods.content, dict):
        return arms, searches
    train = _train_defaults(tree)
    for name in methods.content:
        resolver = _Resolver(tree, name, train, MAX_ARMS - len(arms))
        arms.extend(resolver.arms())
        if resolver.search is not None:
            searches.append(resolver.search)
        problems.extend(resolver.problems)
    return arms, searches


def _train_defaults(tree: Node) -> dict[str, Any]:
    """The fields that `train:` sets, or nothing when it is itself in error, which is reported elsewhere."""
    node = tree.child("train")
    if node is None:
        return {}
    try:
        given = TrainSpec.model_validate_json(json.dumps(node.plain()), strict=True)
    except ValidationError:
        return {}
    return {key: node.plain()[key] for key in given.model_fields_set}


class _Resolver:
    """One entry under `methods:`."""

    def __init__(self, tree: Node, name: str, train: dict[str, Any], limit: int) -> None:
        self.tree = tree
        self.name = name
        self.train = train
        self.limit = limit
        self.path: Path = ("methods", name)
        self.place = tree.place_of(self.path, key=True)
        self.problems: list[Problem] = []
        self.search: SearchedMethod | None = None
        self.form: BaseModel | None = None

    def arms(self) -> list[ResolvedMethod]:
        """Every point of the entry; none when there are problems, or when a search will propose them."""
        entry = self.tree.find(self.path)
        plain: Any = entry.plain() if entry else None
        config_class = self._config_class(plain)
        if config_class is None or not self._check_form(plain, config_class) or not self._check_ranges(plain):
            return []
        if plain.get("search") is not None:
            self._resolve_search(plain, config_class)
            return []
        arms: list[ResolvedMethod] = []
        for fields, varied in self._points(plain):
            config = self._config(config_class, fields)
            if config is None:
                # One wrong point is enough to mend; a grid would repeat the same sentence for every one of them.
                return []
            chosen = {dotted(path): _resolved(config, path) for path in varied}
            arms.append(ResolvedMethod(self.name, config, chosen, str(self.place), len(arms)))
        return arms

    def _note(self, path: Path, message: str, key: bool = False) -> None:
        full = (*self.path, *path)
        self.problems.append(self.tree.place_of(full, key=key).problem(full, message))

    def _config_class(self, plain: Any) -> type[MethodConfig] | None:
        """The config of the method's type, or None for what is no method."""
        known = METHODS.names()
        if not isinstance(plain, dict):
            self._note((), f"expected a mapping such as {{type: {known[0]}}}, found {found_value(plain)}")
            return None
        if "type" not in plain:
            self._note((), f"'type' is missing (known: {', '.join(known)})", key=True)
            return None
        type_ = plain["type"]
        if not isinstance(type_, str) or type_ not in known:
            near = suggest(type_, known) if isinstance(type_, str) else ""
            self._note(("type",), f"unknown method type {found_value(type_)}{near} (known: {', '.join(known)})")
            return None
        try:
            return METHODS.load(type_).Config
        except (ImportError, AttributeError, FtlabError) as error:
            self._note(
                ("type",),
                f"the method '{type_}' cannot be loaded from {METHODS.target(type_)}: {shown(str(error), 200)}",
            )
            return None

    def _check_form(self, plain: dict[str, Any], config: type[MethodConfig]) -> bool:
        form = ranged_form(config)
        hints = {}
        if not config.trained:
            hints = dict.fromkeys(TrainFields.model_fields, f": a method of type {plain['type']} trains nothing")
        self.form = self._validated(form, plain, form, hints)
        return self.form is not None

    def _validated(
        self,
        model: type[BaseModel],
        values: dict[str, Any],
        known: type[BaseModel],
        hints: dict[str, str] | None = None,
    ) -> Any:
        try:
            return model.model_validate_json(json.dumps(values), strict=True)
        except ValidationError as error:
            self.problems.extend(problems_from(error, self.tree, self.path, known, hints))
            return None

    def _check_ranges(self, plain: dict[str, Any]) -> bool:
        before = len(self.problems)
        searched = plain.get("search") is not None
        fields = {key: value for key, value in plain.items() if key not in RESERVED}
        variants = plain.get("variants") or []
        found = [*ranges(fields), *(((("variants", *path)), kind) for path, kind in ranges(variants))]
        for path, kind in found:
            if kind == "grid" and searched:
                self._note(path, "expected {choice: [...]} or {low, high} in a method with 'search', found a grid")
            elif kind != "grid" and not searched:
                self._note(path, "choice and low/high are for a method with 'search'; without one, use {grid: [...]}")
        if searched and variants:
            self._note(("variants",), "expected no variants in a method with 'search'", key=True)
        if searched and not found:
            self._note(("search",), "expected at least one {choice: [...]} or {low, high} to search over", key=True)
        for index, variant in enumerate(variants):
            for key in variant:
                if key in fields:
                    path = ("variants", index, key)
                    self._note(path, f"'{key}' is given by the method and by this variant; keep one of them", key=True)
        count = sum(count_points({**fields, **variant}) for variant in variants or [{}])
        if count > self.limit:
            self._note((), f"expected at most {MAX_ARMS:,} arms in all, found {count:,} in this method", key=True)
        return len(self.problems) == before

    def _points(self, plain: dict[str, Any]) -> Iterator[tuple[dict[str, Any], list[Path]]]:
        """Every point with the paths of its varied fields: the product of all grids, for each variant in turn."""
        variants = plain.get("variants") or [{}]
        coupled: list[Path] = [(key,) for key in dict.fromkeys(itertools.chain.from_iterable(variants))]
        own = {key: value for key, value in plain.items() if key not in ("variants", "search")}
        for variant in variants:
            for point, chosen in points({**own, **variant}):
                yield point, [*coupled, *(path for path in chosen if path[:1] not in coupled or len(path) > 1)]

    def _config(self, config: type[MethodConfig], fields: dict[str, Any]) -> MethodConfig | None:
        """The config of one point: the method's own values, then those of `train:`, then the defaults."""
        values = {**self.train, **fields} if config.trained else fields
        return self._validated(config, values, config)

    def _resolve_search(self, plain: dict[str, Any], config: type[MethodConfig]) -> None:
        """Check the search against its space, and one point of it, so that values that never fit are told now."""
        fields = {key: value for key, value in plain.items() if key not in ("variants", "search")}
        sample = self._config(config, sample_point(fields))
        if sample is None or self.form is None:
            return
        search = SearchSpec.model_validate(plain["search"])
        dimensions = read_dimensions(self.form.model_dump(), list(ranges(fields)))
        searched = any(dimension.field == "evaluations" for dimension in dimensions)
        evaluations = "searched" if searched else getattr(sample, "evaluations", None)
        for path, message in search_problems(search, dimensions, evaluations):
            self._note(path, message)
        values = {**self.train, **fields} if config.trained else fields
        self.search = SearchedMethod(self.name, search, str(self.place), tuple(dimensions), values, sample)


def _resolved(config: MethodConfig, path: Path) -> Any:
    value: Any = config.model_dump(mode="json")
    for part in path:
        # A variant may leave out what another one sets inside a block.
        if value is None:
            return None
        value = value[part]
    return value
