"""Which row goes where: exact sizes, labels in equal shares, the same on every machine.

Rows stand in an order that the seed and their own content decide, and splits are blocks of that order: test first, then
validation, then train. So a new row moves few others, a larger train leaves test alone, and the order of a file does
not matter.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from fractions import Fraction

from ftlab.errors import DataError
from ftlab.spec.schema import SplitSpec

SPLITS = ("train", "validation", "test")
_CUT_ORDER = ("test", "validation", "train")


def split_sizes(spec: SplitSpec, rows: int, cut: Sequence[str] = SPLITS) -> dict[str, int]:
    """How many of `rows` rows each split of `cut` gets; `train` is always among them.

    A share counts all rows and is rounded so that the shares' sum is too, but never to nothing.
    Raises DataError when the rows do not suffice.
    """
    wanted = {name: getattr(spec, name) for name in SPLITS if name in cut}
    sizes = _rounded_shares({name: size for name, size in wanted.items() if size is not None and size < 1}, rows)
    sizes |= {name: int(size) for name, size in wanted.items() if size is not None and size >= 1}
    if wanted["train"] is None:
        sizes["train"] = rows - sum(sizes.values())
    if min(sizes.values()) < 1 or sum(sizes.values()) > rows:
        asked = ", ".join(f"{name} {'the rest' if size is None else f'{size:g}'}" for name, size in wanted.items())
        least = sum(max(size, 1) for size in sizes.values())
        raise DataError(
            f"data.splits: expected splits that fit into {rows:,} rows, found {asked}, which need at least {least:,}; "
            "lower the sizes or add data"
        )
    return {name: sizes[name] for name in SPLITS if name in sizes}


def assign(
    ids: Sequence[str], strata: Sequence[str] | None, sizes: Mapping[str, int], seed: int
) -> dict[str, list[int]]:
    """The positions in `ids` that each split gets, in the order of the shuffle. Rows beyond the sizes' sum go nowhere.

    `ids` are distinct. With `strata` (one label per row) each split holds a label's share of its rows rounded up or
    down. Labels too rare for a share of train come first: each gets one row there, in exchange for a row of the label
    that train has most of, as long as train has room for all.
    """
    shuffled = sorted(range(len(ids)), key=lambda index: order(seed, ids[index]))
    groups: dict[str, list[int]] = {}
    for index in shuffled:
        groups.setdefault(strata[index] if strata is not None else "", []).append(index)
    counts = {label: len(members) for label, members in groups.items()}
    quotas = _quotas(counts, sizes, seed)
    if "train" in sizes:
        _train_every_label(quotas, seed)
    chosen: dict[str, set[int]] = {name: set() for name in sizes}
    for label, members in groups.items():
        begin = 0
        for name in _CUT_ORDER:
            if name in sizes:
                end = begin + quotas[label][name]
                chosen[name].update(members[begin:end])
                begin = end
    return {name: [index for index in shuffled if index in chosen[name]] for name in sizes}


def order(seed: int, key: str) -> bytes:
    """What rows are sorted by to be shuffled: the same on every machine."""
    return hashlib.sha256(f"{seed} {key}".encode()).digest()


def _rounded_shares(shares: Mapping[str, float], rows: int) -> dict[str, int]:
    exact = {name: Fraction(str(share)) * rows for name, share in shares.items()}
    sizes = {name: math.floor(value) for name, value in exact.items()}
    missing = math.floor(sum(exact.values()) + Fraction(1, 2)) - sum(sizes.values())
    for name in sorted(exact, key=lambda name: (sizes[name] - exact[name], name))[:missing]:
        sizes[name] += 1
    return {name: max(size, 1) for name, size in sizes.items()}


def _quotas(counts: Mapping[str, int], sizes: Mapping[str, int], seed: int) -> dict[str, dict[str, int]]:
    """Rows per label and split: the exact share rounded up or down, such that labels and splits both sum up exactly.

    Such a rounding always exists (the shares themselves are a flow with integer margins). It is found by giving the
    units that rounding down leaves over to the largest remainders first, then along augmenting paths.
    """
    total = sum(counts.values())
    columns = {**{name: sizes[name] for name in _CUT_ORDER if name in sizes}, "": total - sum(sizes.values())}
    exact = {label: {name: Fraction(n * size, total) for name, size in columns.items()} for label, n in counts.items()}
    quotas = {label: {name: math.floor(value) for name, value in row.items()} for label, row in exact.items()}
    label_needs = {label: counts[label] - sum(quotas[label].values()) for label in counts}
    column_needs = {name: size - sum(row[name] for row in quotas.values()) for name, size in columns.items()}
    cells = [(label, name) for label in counts for name in columns if exact[label][name] > quotas[label][name]]
    rising = set(cells)

    def urgency(cell: tuple[str, str]) -> tuple[bool, int, Fraction, bytes]:
        label, name = cell
        # A label that is not trained on cannot be learnt: those units go first.
        untrained = name == "train" and quotas[label][name] == 0
        return not untrained, list(columns).index(name), quotas[label][name] - exact[label][name], order(seed, label)

    raised: dict[str, set[str]] = {label: set() for label in counts}
    for label, name in sorted(cells, key=urgency):
        if label_needs[label] and column_needs[name]:
            raised[label].add(name)
            label_needs[label] -= 1
            column_needs[name] -= 1
    for label in sorted(counts, key=lambda label: order(seed, label)):
        for _ in range(label_needs[label]):
            column_needs[_augment(label, raised, rising, column_needs, sorted(counts))] -= 1
    return {label: {name: n + (name in raised[label]) for name, n in row.items()} for label, row in quotas.items()}


def _train_every_label(quotas: dict[str, dict[str, int]], seed: int) -> None:
    """Exchange units between labels, leaving every sum as it is, until train holds each label or has no two of any.

    What is not trained on cannot be learnt, and labels are known from train.
    """
    for label in sorted(quotas, key=lambda label: order(seed, label)):
        row = quotas[label]
        donor = max(quotas.values(), key=lambda other: other["train"])
        if row["train"] == 0 and donor["train"] > 1:
            source = max(row, key=lambda name: row[name])
            row[source] -= 1
            row["train"] += 1
            donor["train"] -= 1
            donor[source] += 1


def _augment(
    label: str,
    raised: dict[str, set[str]],
    rising: set[tuple[str, str]],
    column_needs: Mapping[str, int],
    labels: Sequence[str],
) -> str:
    """Give `label` one more unit by moving units of other labels between columns; returns the column that grows."""
    came_from: dict[str, tuple[str, str | None]] = {}
    frontier = [name for name in column_needs if (label, name) in rising and name not in raised[label]]
    came_from.update(dict.fromkeys(frontier, (label, None)))
    while frontier:
        column = frontier.pop(0)
        if column_needs[column]:
            grown, at = column, column
            while True:
                mover, previous = came_from[at]
                raised[mover].add(at)
                if previous is None:
                    return grown
                raised[mover].discard(previous)
                at = previous
        for other in labels:
            if column not in raised[other]:
                continue
            for target in column_needs:
                if target not in came_from and (other, target) in rising and target not in raised[other]:
                    came_from[target] = (other, column)
                    frontier.append(target)
    raise AssertionError("the shares are a flow with integer margins, so a path exists")
