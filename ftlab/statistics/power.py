"""How small a gain n examples can show, and how many a gain needs: before anything is trained, and after.

Power of the two-sided paired t-test on the differences (statsmodels' `TTestPower`). Its only unknown is the standard
deviation of one example's difference. Before training it follows, for scores of 0 and 1, from the share of examples on
which the two systems will disagree: with a share d and a gain g its square is d - g^2. The share is an assumption
(`DISCORDANT`); after training it is measured. The smallest gain in points for several of each:

    disagree on      n = 100    300    800   2,000
    10%                  8.6    5.1    3.1     2.0
    20%                 12.2    7.2    4.4     2.8
    30%                 14.9    8.8    5.4     3.4
    40%                 17.2   10.1    6.2     4.0

About 10%: settings of one method; 20%: methods of like quality; 40%: a weak model or labels that are hard to tell.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from ftlab.statistics import level

POWER = 0.8
DISCORDANT = 0.2
"""The share of examples on which two systems are assumed to disagree when nothing is measured yet."""
MOST = 1_000_000
"""Examples are not counted further than this."""


@dataclass(frozen=True, slots=True)
class Detectable:
    """The smallest difference that a comparison is likely to show."""

    effect: float | None
    """In the unit of the scores; None when no difference can be shown with `n` examples."""
    n: int
    sd: float | None
    """Standard deviation of one example's difference, in the unit of the scores."""
    power: float
    alpha: float
    """Two-sided."""
    basis: str
    """Where `sd` comes from, or why there is no effect."""


def smallest_effect(n: int, sd: float, *, power: float = POWER, alpha: float | None = None) -> Detectable:
    """The smallest mean difference that `n` pairs show with the given power, from a measured `sd` of the differences.

    Raises ValueError for an `sd` that is not positive.
    """
    alpha = level.alpha() if alpha is None else alpha
    if not (math.isfinite(sd) and sd > 0):
        raise ValueError(f"expected a standard deviation above 0, found {sd}")
    if n < 2:
        return Detectable(None, n, sd, power, alpha, "fewer than two examples")
    return Detectable(_standardised(n, power, alpha) * sd, n, sd, power, alpha, "measured spread of the differences")


def smallest_effect_planned(
    n: int, discordant: float = DISCORDANT, *, power: float = POWER, alpha: float | None = None
) -> Detectable:
    """The smallest difference of two rates that `n` examples show, when the systems disagree on a share `discordant`.

    None when even disagreement in one direction only could not be shown. Scores of 0 and 1; for other scores from 0 to
    1 it is an upper bound when `discordant` is the share of examples whose scores differ.
    Raises ValueError for a share outside ]0, 1].
    """
    alpha = level.alpha() if alpha is None else alpha
    _check_share(discordant)
    basis = f"{100 * discordant:g}% of the examples assumed to differ"
    if n < 2:
        return Detectable(None, n, None, power, alpha, "fewer than two examples")
    # g = e * sqrt(d - g^2), solved for g.
    size = _standardised(n, power, alpha)
    effect = size * math.sqrt(discordant / (1.0 + size**2))
    if effect > discordant:
        return Detectable(None, n, None, power, alpha, f"{basis}: too few of {n} to show any difference")
    return Detectable(effect, n, math.sqrt(discordant - effect**2), power, alpha, basis)


def quick_effect(
    n: int, discordant: float = DISCORDANT, *, power: float = POWER, alpha: float | None = None
) -> float | None:
    """What `smallest_effect_planned` finds, by the normal distribution instead of Student's t and without any library.

    For commands that must answer at once: statsmodels takes a second to import. From 100 examples on it is at most 2%
    below (at an alpha for twenty arms; 1% for one), from 500 on at most 0.5%.

    Raises ValueError for a share outside ]0, 1].
    """
    alpha = level.alpha() if alpha is None else alpha
    _check_share(discordant)
    if n < 2:
        return None
    normal = NormalDist()
    size = (normal.inv_cdf(1.0 - alpha / 2.0) + normal.inv_cdf(power)) / math.sqrt(n)
    effect = size * math.sqrt(discordant / (1.0 + size**2))
    return effect if effect <= discordant else None


def examples_needed(effect: float, sd: float, *, power: float = POWER, alpha: float | None = None) -> int | None:
    """Pairs to show a mean difference `effect`; `MOST` when more. None unless `effect` and `sd` are above 0."""
    from statsmodels.stats.power import TTestPower

    alpha = level.alpha() if alpha is None else alpha
    if effect <= 0 or sd <= 0:
        return None
    size = effect / sd
    # Above: the solver does not converge, two or three pairs are the answer. Below: more than MOST.
    if _standardised(3, power, alpha) <= size:
        return 3
    if _standardised(MOST, power, alpha) >= size:
        return MOST
    import numpy as np

    found = TTestPower().solve_power(effect_size=size, power=power, alpha=alpha)
    return math.ceil(float(np.ravel(found)[0]))


def examples_needed_planned(
    effect: float, discordant: float = DISCORDANT, *, power: float = POWER, alpha: float | None = None
) -> int | None:
    """Examples to show a difference of two rates, when the systems disagree on a share `discordant` of them.

    None when the effect is not positive or larger than the share allows. Raises ValueError for a share outside ]0, 1].
    """
    _check_share(discordant)
    if not 0 < effect <= discordant:
        return None
    # With disagreement in one direction only and nearly always, the variance vanishes; a few examples then suffice.
    return examples_needed(effect, math.sqrt(max(discordant - effect**2, 1e-6)), power=power, alpha=alpha)


def spread_of_interval(low: float | None, high: float | None, n: int | None) -> float | None:
    """The standard deviation that n examples with an interval from `low` to `high`, at the level in force, point to.

    None for an interval without a width.

    What widened the interval (many arms, clusters, seeds) is in it, and so planned for as well.
    """
    if low is None or high is None or not n or high <= low:
        return None
    return (high - low) / 2 / NormalDist().inv_cdf(1.0 - level.alpha() / 2.0) * math.sqrt(n)


def alpha_of(arms: int) -> float:
    """The level at which each of `arms` comparisons is planned so that all hold together (Bonferroni).

    Raises ValueError for fewer than one arm.
    """
    if arms < 1:
        raise ValueError(f"expected at least one arm, found {arms}")
    return level.alpha() / arms


def _standardised(n: int, power: float, alpha: float) -> float:
    """The effect in standard deviations that `n` pairs show."""
    import numpy as np
    from statsmodels.stats.power import TTestPower

    found = TTestPower().solve_power(nobs=n, power=power, alpha=alpha, alternative="two-sided")
    # Where its first root finder gives up (120 pairs), statsmodels answers with an array of one.
    return float(np.ravel(found)[0])


def _check_share(discordant: float) -> None:
    if not 0.0 < discordant <= 1.0:
        raise ValueError(f"expected a share above 0 and at most 1, found {discordant}")
