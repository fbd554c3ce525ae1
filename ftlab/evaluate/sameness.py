"""Whether a model still looks at what it is asked: one that has collapsed gives every row the same answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ftlab.text import one_line

SAME = 0.95
"""Beyond this share of equal answers a model is said to give one answer only."""
FEWEST = 10
"""Fewer answers may be equal by chance."""
SHOWN_CHARACTERS = 60


def one_answer(outputs: Sequence[str], targets: Sequence[str]) -> str | None:
    """What to say when more than `SAME` of the outputs are equal while the targets of the same rows are not.

    None when outputs vary, when targets vary as little, and for fewer than `FEWEST` rows.
    """
    if len(outputs) < FEWEST:
        return None
    output, count = Counter(outputs).most_common(1)[0]
    if count <= SAME * len(outputs) or max(Counter(targets).values()) > SAME * len(targets):
        return None
    shown = f"'{one_line(output, SHOWN_CHARACTERS)}'" if output.strip() else "nothing"
    return (
        f"{count} of {len(outputs)} answers are the same ({shown}) while the right answers vary: the model no longer "
        "looks at the rows, or the prompt leads it to one answer; if it was trained, try a lower learning_rate or "
        "fewer epochs, else another prompt"
    )
