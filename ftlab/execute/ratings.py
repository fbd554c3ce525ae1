"""What people say of pairs of answers: the lines of kind `pair` in `<experiment>/ratings/<rater>.jsonl`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

FOLDER = "ratings"
_TURNED = {"a": "b", "b": "a", "tie": "tie"}


@dataclass(frozen=True, slots=True)
class PairRating:
    """One person's choice between two answers to one example."""

    rater: str
    split: str
    example_id: str
    key_a: str
    key_b: str
    choice: str
    """`a`, `b` or `tie`."""

    def seen_from(self, key: str, other: str) -> str | None:
        """The choice when `key` is called a and `other` b; None for ratings of other predictions."""
        if (self.key_a, self.key_b) == (key, other):
            return self.choice
        return _TURNED[self.choice] if (self.key_a, self.key_b) == (other, key) else None


def read_pair_ratings(experiment: Path) -> list[PairRating]:
    """Every pair that somebody has rated; of one person's ratings of the same pair the last. Lines that cannot be read
    are passed over: the last one may be torn."""
    latest: dict[tuple[str, ...], PairRating] = {}
    for path in sorted((experiment / FOLDER).glob("*.jsonl")):
        for line in path.read_bytes().splitlines():
            rating = _rating(line, path.stem)
            if rating is not None:
                sides = sorted((rating.key_a, rating.key_b))
                latest[rating.rater, rating.split, rating.example_id, *sides] = rating
    return list(latest.values())


def _rating(line: bytes, rater: str) -> PairRating | None:
    try:
        entry = json.loads(line)
        if entry["kind"] != "pair" or entry["choice"] not in _TURNED:
            return None
        texts = {name: entry[name] for name in ("split", "example_id", "key_a", "key_b", "choice")}
        return PairRating(rater, **texts) if all(isinstance(text, str) for text in texts.values()) else None
    except (ValueError, KeyError, TypeError):
        return None


def majority(choices: Iterable[str]) -> str:
    """What most raters say; a tie when no choice has more votes than every other."""
    ranked = Counter(choices).most_common(2)
    return "tie" if len(ranked) == 2 and ranked[0][1] == ranked[1][1] else ranked[0][0]
