"""What the drawing of seeds and that of examples leave open, in a sentence for each arm that is looked at."""

from __future__ import annotations

from ftlab import text
from ftlab.decide.view import DecisionView, Spread
from ftlab.report import format as fmt


def spread_rows(view: DecisionView) -> list[tuple[str, str]]:
    """The best prompt and the best arm of every method: its label and the sentence."""
    return [
        (fmt.label(arm, 60), spread_words(arm.spread, view.metric_unit))
        for arm in view.arms
        if arm.spread is not None and (arm.is_baseline or arm.is_best_of_method)
    ]


def spread_words(spread: Spread, unit: str) -> str:
    """`seeds ±1.2 (standard deviation of 3), examples ±2.0 (standard error over 300), in points; ...`."""
    rows = f"over {text.count(spread.examples)}" if spread.examples else "over the rows"
    error = text.MISSING if spread.example_error is None else f"±{_size(spread.example_error, unit)}"
    examples = f"examples {error} (standard error {rows}), in {fmt.difference_unit(unit)}"
    if not spread.seeded:
        return f"{examples}; no seed changes it"
    if spread.sd is None:
        return f"{examples}; {spread.over[:-1]} noise not measured"
    found = f"{spread.over} ±{_size(spread.sd, unit)} (standard deviation of {spread.replicates})"
    weigh = {
        "replicates": f"; the {spread.over} leave more open: more of them would tell more",
        "examples": "; the examples leave more open: more rows would tell more",
        None: "",
    }
    return f"{found}, {examples}{weigh[spread.larger]}"


def _size(value: float, unit: str) -> str:
    return text.signed(value, unit).lstrip("+")
