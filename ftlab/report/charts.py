"""Two charts as plain SVG: paired differences with their intervals, and quality against cost.

Colours come from the page's style sheet by class, so light, dark and print each have theirs. Every chart is drawn
twice, wide and narrow, since text in a scaled SVG would be unreadable on a telephone; the style sheet shows the one
that fits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from ftlab.decide.view import ArmView, DecisionView, Estimate
from ftlab.report import format as fmt

MOST_ROWS = 30
"""Arms in the forest plot; the table has them all."""
WIDE, NARROW = 980, 360


@dataclass(frozen=True, slots=True)
class Scale:
    """A linear or logarithmic mapping of values to pixels."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, value = (math.log10(x) if self.log else x for x in (self.low, self.high, value))
        return self.start + (value - low) / (high - low) * (self.end - self.start)


def nice_ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers from `low` to `high`, about so many: steps of 1, 2 or 5 times a power of ten."""
    if not high > low:
        return [low]
    raw = (high - low) / max(1, about)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def forest(view: DecisionView) -> Markup:
    """Differences to the best prompt, one row for each arm; empty when there is none yet."""
    arms = [arm for arm in view.arms if arm.difference is not None][:MOST_ROWS]
    if not arms:
        return Markup("")
    return _both(_forest(view, arms, WIDE, narrow=False), _forest(view, arms, NARROW, narrow=True))


def scatter(view: DecisionView) -> Markup:
    """The decision metric against seconds per 1,000 requests; empty with fewer than two arms to place."""
    arms = [arm for arm in view.arms if view.metric in arm.metrics and (arm.cost.seconds_per_1k_requests or 0) > 0]
    if len(arms) < 2:
        return Markup("")
    return _both(_scatter(view, arms, WIDE, 380), _scatter(view, arms, NARROW, 320))


def _both(wide: Markup, narrow: Markup) -> Markup:
    return Markup('<div class="chart wide">{}</div><div class="chart narrow">{}</div>').format(wide, narrow)


def _svg(width: float, height: float, title: str, body: Sequence[Markup]) -> Markup:
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        _px(width), _px(height), fmt.plain(title), Markup("").join(body)
    )


def _px(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _text(x: float, y: float, words: str, css: str = "", anchor: str = "start") -> Markup:
    return Markup('<text x="{}" y="{}" class="{}" text-anchor="{}">{}</text>').format(
        _px(x), _px(y), css, anchor, escape(fmt.plain(words))
    )


def _line(x1: float, y1: float, x2: float, y2: float, css: str) -> Markup:
    return Markup('<line x1="{}" y1="{}" x2="{}" y2="{}" class="{}"/>').format(_px(x1), _px(y1), _px(x2), _px(y2), css)


def _rect(x: float, y: float, width: float, height: float, css: str) -> Markup:
    return Markup('<rect x="{}" y="{}" width="{}" height="{}" class="{}"/>').format(
        _px(x), _px(y), _px(width), _px(height), css
    )


def _mark(family: str, x: float, y: float, css: str, size: float = 5.5) -> Markup:
    """A shape for each family, so that colour is never the only difference."""
    if family == "prompt":
        return Markup('<circle cx="{}" cy="{}" r="{}" class="{}"/>').format(_px(x), _px(y), _px(size), css)
    if family == "full":
        points = [(x, y - size * 1.25), (x + size * 1.15, y + size * 0.85), (x - size * 1.15, y + size * 0.85)]
    else:
        points = [(x - size, y - size), (x + size, y - size), (x + size, y + size), (x - size, y + size)]
    return Markup('<polygon points="{}" class="{}"/>').format(" ".join(f"{_px(a)},{_px(b)}" for a, b in points), css)


def _factor(view: DecisionView) -> float:
    """Shares are drawn as points and percentages."""
    return 100.0 if view.metric_unit == "share" else 1.0


def _forest(view: DecisionView, arms: Sequence[ArmView], width: int, narrow: bool) -> Markup:
    row, top = (46, 40) if narrow else (30, 34)
    left, right = (14, width - 14) if narrow else (300, width - 210)
    bottom = top + row * len(arms)
    factor = _factor(view)
    ends = [end for arm in arms for end in _ends(arm.difference.estimate)] if arms else []  # type: ignore[union-attr]
    low = min([*ends, -view.min_gain, 0.0]) * factor
    high = max([*ends, view.min_gain, 0.0]) * factor
    margin = (high - low) * 0.04 or 1.0
    scale = Scale(low - margin, high + margin, left, right)
    gain = view.min_gain * factor
    body = [
        _rect(scale(-gain), top - 6, scale(gain) - scale(-gain), bottom - top + 6, "band"),
        *(_tick(scale, tick, top, bottom, view) for tick in nice_ticks(scale.low, scale.high, 4 if narrow else 8)),
        _line(scale(0), top - 6, scale(0), bottom, "zero"),
        _text(scale(0), top - 14, "best prompt" if narrow else "same as the best prompt", "note", "middle"),
    ]
    for index, arm in enumerate(arms):
        body += _forest_row(view, arm, scale, top + row * index, row, narrow, width)
    title = f"{fmt.metric_name(view.metric)}: difference to the best prompt with {fmt.level(view.confidence)} intervals"
    return _svg(width, bottom + 24, title, body)


def _tick(scale: Scale, tick: float, top: float, bottom: float, view: DecisionView) -> Markup:
    shown = fmt.signed(tick / _factor(view), view.metric_unit).replace(".0", "")
    return _line(scale(tick), top - 6, scale(tick), bottom, "grid") + _text(
        scale(tick), bottom + 17, shown, "axis", "middle"
    )


def _ends(estimate: Estimate) -> list[float]:
    return [end for end in (estimate.low, estimate.high, estimate.value) if end is not None]


def _forest_row(
    view: DecisionView, arm: ArmView, scale: Scale, y: float, row: float, narrow: bool, width: float
) -> list[Markup]:
    assert arm.difference is not None, "rows are drawn of arms with a difference"
    found = arm.difference.estimate
    factor = _factor(view)
    middle = y + row * (0.68 if narrow else 0.5)
    css = f"series {_family(arm)}{' chosen' if arm.arm_id == view.conclusion.arm_id else ''}"
    label = fmt.label(arm, 34 if narrow else 42)
    shown = fmt.difference_short(arm.difference, view.metric_unit)
    parts = []
    if narrow:
        parts.append(_text(8, y + 13, label, "label"))
        parts.append(_text(width - 8, y + 13, fmt.signed(found.value, view.metric_unit), "value", "end"))
    else:
        parts.append(_text(0, middle + 4.5, label, "label"))
        parts.append(_text(width, middle + 4.5, shown, "value", "end"))
    if found.low is not None and found.high is not None:
        a, b = scale(found.low * factor), scale(found.high * factor)
        parts += [_line(a, middle, b, middle, css), _line(a, middle - 4, a, middle + 4, css)]
        parts.append(_line(b, middle - 4, b, middle + 4, css))
    parts.append(_mark(arm.family, scale(found.value * factor), middle, css))
    title = Markup("<title>{}</title>").format(fmt.plain(f"{fmt.label(arm)}: {shown}"))
    return [Markup("<g>{}{}</g>").format(title, Markup("").join(parts))]


def _family(arm: ArmView) -> str:
    return arm.family if arm.family in ("prompt", "full") else "adapter"


def _scatter(view: DecisionView, arms: Sequence[ArmView], width: int, height: int) -> Markup:
    left, right, top, bottom = 52, width - 16, 18, height - 46
    factor = _factor(view)
    costs = [arm.cost.seconds_per_1k_requests or 0.0 for arm in arms]
    log = max(costs) / min(costs) > 12
    x = (
        Scale(min(costs) / 1.5, max(costs) * 1.9, left, right, log=True)
        if log
        else Scale(0.0, max(costs) * 1.25, left, right)
    )
    ends = [end * factor for arm in arms for end in _ends(arm.metrics[view.metric])]
    margin = (max(ends) - min(ends)) * 0.08 or 1.0
    y = Scale(min(ends) - margin, max(ends) + margin, bottom, top)
    body = [_y_tick(y, tick, left, right, view) for tick in nice_ticks(y.low, y.high, 5)]
    body += [
        _text(x(tick), bottom + 18, fmt.duration(tick).replace(".0 s", " s"), "axis", "middle")
        for tick in _cost_ticks(x, 3 if width == NARROW else 6)
    ]
    body.append(_line(left, bottom, right, bottom, "base"))
    body.append(_text(right, height - 8, "time to answer 1,000 requests (shorter is better)", "note", "end"))
    body += _front_line(view, arms, x, y, factor)
    # Dominated arms first, so that those worth a look are drawn over them.
    for arm in sorted(arms, key=lambda arm: arm.on_front):
        body.append(_point(view, arm, x, y, factor))
    body += _point_labels(view, arms, x, y, factor, right)
    return _svg(width, height, f"{fmt.metric_name(view.metric)} against the time to answer 1,000 requests", body)


def _cost_ticks(x: Scale, about: int) -> list[float]:
    if not x.log:
        return [tick for tick in nice_ticks(x.low, x.high, about) if tick > 0]
    decades = range(math.floor(math.log10(x.low)), math.ceil(math.log10(x.high)) + 1)
    return [f * 10.0**d for d in decades for f in (1, 3) if x.low <= f * 10.0**d <= x.high]


def _y_tick(y: Scale, tick: float, left: float, right: float, view: DecisionView) -> Markup:
    shown = fmt.number(tick / _factor(view), view.metric_unit, 0)
    return _line(left, y(tick), right, y(tick), "grid") + _text(left - 8, y(tick) + 4, shown, "axis", "end")


def _front_line(view: DecisionView, arms: Sequence[ArmView], x: Scale, y: Scale, factor: float) -> list[Markup]:
    front = sorted((arm for arm in arms if arm.on_front), key=lambda arm: arm.cost.seconds_per_1k_requests or 0.0)
    points = [
        f"{_px(x(arm.cost.seconds_per_1k_requests or 0.0))},{_px(y(arm.metrics[view.metric].value * factor))}"
        for arm in front
    ]
    return [Markup('<polyline points="{}" class="front"/>').format(" ".join(points))] if len(points) > 1 else []


def _point(view: DecisionView, arm: ArmView, x: Scale, y: Scale, factor: float) -> Markup:
    found = arm.metrics[view.metric]
    at = x(arm.cost.seconds_per_1k_requests or 0.0)
    css = f"series {_family(arm)}{'' if arm.on_front or arm.is_baseline else ' dominated'}"
    parts = []
    if found.low is not None and found.high is not None:
        parts.append(_line(at, y(found.low * factor), at, y(found.high * factor), f"{css} whisker"))
    parts.append(_mark(arm.family, at, y(found.value * factor), css))
    words = (
        f"{fmt.label(arm)}: {fmt.estimate(found, view.metric_unit)}, "
        f"{fmt.duration(arm.cost.seconds_per_1k_requests)} for 1,000 requests"
    )
    return Markup("<g><title>{}</title>{}</g>").format(fmt.plain(words), Markup("").join(parts))


def _point_labels(
    view: DecisionView, arms: Sequence[ArmView], x: Scale, y: Scale, factor: float, right: float
) -> list[Markup]:
    """Names of the arms worth a look, moved apart where they would overlap."""
    named = [arm for arm in arms if arm.on_front or arm.is_baseline or arm.arm_id == view.conclusion.arm_id]
    places = sorted((y(arm.metrics[view.metric].value * factor), arm.arm_id, arm) for arm in named)
    labels: list[Markup] = []
    last = -math.inf
    for wanted, _, arm in places:
        at = max(wanted + 4.5, last + 15)
        last = at
        across = x(arm.cost.seconds_per_1k_requests or 0.0)
        words = fmt.label(arm, 34)
        # About 6.7 px for a character; what would run over the edge goes to the left of its mark.
        fits = across + 12 + 6.7 * len(words) <= right
        labels.append(_text(across + (12 if fits else -12), at, words, "label", "start" if fits else "end"))
    return labels
