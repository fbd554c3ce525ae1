"""Splits that keep rows together which belong together: one document, customer or template never on two sides.

A row whose near twin was trained on is no test. With `data.cluster_by` a split holds whole groups, so its size is met
as nearly as the groups allow.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from ftlab.data.split import order
from ftlab.errors import DataError
from ftlab.plan.identity import canonical_json


def group_names(fields: Sequence[Mapping[str, object]], ids: Sequence[str], column: str) -> list[str]:
    """The group of every row: what its cell says; a row without one is a group of its own."""
    return [
        f"row {row_id}" if row.get(column) is None else f"group {canonical_json(row[column])}"
        for row, row_id in zip(fields, ids, strict=True)
    ]


def assign_groups(
    groups: Sequence[str], strata: Sequence[str] | None, sizes: Mapping[str, int], seed: int
) -> dict[str, list[int]]:
    """The positions of the rows that each split gets, whole groups only. Groups that fit nowhere go nowhere.

    Groups are dealt by size, the largest first (of equal ones in an order that the seed decides), each to the split
    that still lacks the largest share of what it is to have; with `strata` (one label per row) the shares are those of
    the group's own labels. Raises DataError when a split stays empty.
    """
    members: dict[str, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    labels = [""] * len(groups) if strata is None else list(strata)
    whole = Counter(labels)
    share = {name: size / max(1, len(groups)) for name, size in sizes.items()}
    held: dict[str, Counter[str]] = {name: Counter() for name in sizes}
    chosen: dict[str, list[int]] = {name: [] for name in sizes}

    def lack(name: str, group: Counter[str]) -> float:
        """The share of its rows that the split lacks, weighted by the labels of the group."""
        total = sum(group.values())
        wanted = {label: max(share[name] * whole[label], 1e-9) for label in group}
        return sum(n / total * (wanted[label] - held[name][label]) / wanted[label] for label, n in group.items())

    for group in sorted(members, key=lambda name: (-len(members[name]), order(seed, name))):
        rows = members[group]
        counts = Counter(labels[index] for index in rows)
        room = {name: size - len(chosen[name]) for name, size in sizes.items()}
        fitting = [name for name in sizes if room[name] >= len(rows)] or [
            # Half of it fits: missing the size by the other half is the nearest there is.
            name
            for name in sizes
            if 2 * room[name] >= len(rows)
        ]
        if fitting:
            best = max(fitting, key=lambda name: (lack(name, counts), -sizes[name]))
            chosen[best] += rows
            held[best].update(counts)
    if empty := [name for name, rows in chosen.items() if not rows]:
        raise DataError(
            f"data.cluster_by: {len(members):,} groups of up to {max(map(len, members.values())):,} rows leave "
            f"{', '.join(empty)} empty; choose a column with more and smaller groups, or other sizes",
            at=("data", "cluster_by"),
        )
    place = {index: order(seed, f"{groups[index]} {index}") for index in range(len(groups))}
    return {name: sorted(rows, key=place.__getitem__) for name, rows in chosen.items()}
