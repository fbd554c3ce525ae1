"""Numbers, durations and other people's text as words: the one formatter behind every surface.

Free of locale: a point before decimals, a comma between thousands, the real minus sign. A difference always carries its
sign, except for zero. What is missing is an en dash, never a zero.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import TypeGuard

MISSING = "–"
MINUS = "−"
SHARE = "share"
"""The unit of numbers from 0 to 1: shown as percentages, their differences as points."""
UNSPOKEN = frozenset({"ratio", "count", "perplexity", "score"})
"""Units of numbers that are written alone: what they count is the name of the metric."""
_METRIC_WORDS = {
    "f1": "F1",
    "json": "JSON",
    "bleu": "BLEU",
    "chrf": "chrF",
    "rouge1": "ROUGE-1",
    "rouge2": "ROUGE-2",
    "rougeL": "ROUGE-L",
}


def number(value: float | None, unit: str = SHARE, digits: int = 1) -> str:
    """A value in its unit: `61.3%` for a share, else four significant digits: `0.8123`, `2.31 nats`."""
    if not _known(value):
        return MISSING
    if unit == SHARE:
        return f"{_fixed(100 * value, digits)}%"
    return _with_unit(_significant(value), unit)


def estimate(value: float | None, low: float | None, high: float | None, unit: str = SHARE) -> str:
    """A value with its interval: `61.3% (57.2 to 65.2)`."""
    if not _known(value):
        return MISSING
    if not (_known(low) and _known(high)):
        return number(value, unit)
    ends = (100 * low, 100 * high) if unit == SHARE else (low, high)
    form = _one_decimal if unit == SHARE else _significant
    return f"{number(value, unit)} ({form(ends[0])} to {form(ends[1])})"


def difference(
    value: float | None, low: float | None, high: float | None, unit: str = SHARE, confidence: float = 0.95
) -> str:
    """A difference with its interval: `+5.6 points (95% CI +3.1 to +8.2)`."""
    if not _known(value):
        return MISSING
    shown = signed(value, unit)
    words = f"{shown} {_noun(value, unit)}".rstrip()
    return f"{words} ({level(confidence)} CI {interval(low, high, unit)})" if _known(low) and _known(high) else words


def coefficient(value: float | None) -> str:
    """A coefficient between -1 and 1, such as Cohen's kappa: `0.62`, `−0.05`."""
    if not _known(value):
        return MISSING
    return f"{value:.2f}".replace("-", MINUS)


def level(confidence: float) -> str:
    """The level of an interval: `95%`, `99.5%`."""
    return f"{_significant(100 * confidence)}%"


def difference_short(value: float | None, low: float | None, high: float | None, unit: str = SHARE) -> str:
    """The same for a column whose head names the unit: `+5.6 (+3.1 to +8.2)`."""
    if not _known(value):
        return MISSING
    shown = signed(value, unit)
    return f"{shown} ({interval(low, high, unit)})" if _known(low) and _known(high) else shown


def interval(low: float | None, high: float | None, unit: str = SHARE) -> str:
    """The ends of a difference's interval: `+3.1 to +8.2`."""
    if not (_known(low) and _known(high)):
        return MISSING
    return f"{signed(low, unit)} to {signed(high, unit)}"


def signed(value: float | None, unit: str = SHARE) -> str:
    """A difference without its unit: `+5.6`, `−0.4`, `0.0`."""
    if not _known(value):
        return MISSING
    text = _one_decimal(100 * value) if unit == SHARE else _significant(value)
    return text if text.startswith(MINUS) or not text.strip("0.") else f"+{text}"


def amount(value: float | None, unit: str = SHARE) -> str:
    """A size without a sign, for limits and losses: `2 points`, `0.5 points`, `1 point`."""
    if not _known(value):
        return MISSING
    if unit != SHARE:
        return _with_unit(_significant(value), unit)
    text = _one_decimal(100 * value).removesuffix(".0")
    return f"{text} {'point' if text == '1' else 'points'}"


def money(amount: float | None, currency: str = "$") -> str:
    """An amount in three digits or so: `$1,240`, `$41.20`, `$0.90`, `$0.0031`, `−$3.00`, `<$0.0001`."""
    if not _known(amount):
        return MISSING
    size = abs(amount)
    if size >= 99.995:
        shown = f"{size:,.0f}"
    elif size >= 0.0995 or size == 0:
        shown = f"{size:.2f}" if size else "0"
    else:
        shown = f"{size:.2g}"
    if 0 < size < 1e-4:
        return f"{'>' if amount < 0 else '<'}{MINUS if amount < 0 else ''}{plain(currency)}0.0001"
    return f"{MINUS if amount < 0 else ''}{plain(currency)}{shown}"


def duration(seconds: float | None) -> str:
    """A span of time in two steps at most: `0.84 s`, `12.3 s`, `4 min 05 s`, `2 h 07 min`, `3 d 04 h`."""
    if not _known(seconds):
        return MISSING
    if seconds < 0:
        return f"{MINUS}{duration(-seconds)}"
    if seconds == 0:
        return "0 s"
    if seconds < 0.0095:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 9.95:
        return f"{seconds:.2g} s"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    hours = round(seconds / 3600)
    return f"{hours // 24} d {hours % 24:02d} h"


def size(count_of_bytes: float | None) -> str:
    """Bytes in powers of 1000: `512 B`, `7.41 MB`."""
    return _scaled(count_of_bytes, ("B", "kB", "MB", "GB", "TB", "PB"), " ")


def compact(value: float | None) -> str:
    """A large count in three digits: `921`, `4.88M`, `134M`."""
    return _scaled(value, ("", "k", "M", "G", "T", "P"), "")


def count(value: float | None) -> str:
    """A whole number with commas: `1,838`."""
    return f"{round(value):,}".replace("-", MINUS) if _known(value) else MISSING


def rate(per_second: float | None, noun: str = "tokens") -> str:
    """A speed: `1,284 tokens/s`."""
    if not _known(per_second):
        return MISSING
    shown = count(per_second) if per_second >= 99.5 else _significant(per_second, 3)
    return f"{shown} {noun}/s"


def p_value(p: float | None) -> str:
    """A p value: `p < 0.001`, `p = 0.032`."""
    if not _known(p):
        return MISSING
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.0995 else f"p = {p:.2f}"


def date(moment: float | str | None) -> str:
    """A Unix time or an ISO 8601 text in UTC: `2026-11-22 03:13 UTC`."""
    if moment is None or moment == "":
        return MISSING
    if isinstance(moment, str):
        try:
            when = datetime.fromisoformat(moment)
        except ValueError:
            return one_line(moment, 40)
        when = when if when.tzinfo else when.replace(tzinfo=UTC)
    else:
        when = datetime.fromtimestamp(moment, UTC)
    return when.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def plural(how_many: int, noun: str) -> str:
    """A count and its noun: `1 run`, `12 runs`."""
    return f"{count(how_many)} {noun if how_many == 1 else noun + 's'}"


# ESC or a C1 introducer, then a CSI sequence, a string up to its terminator (OSC, DCS, ...), or a single character.
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f]).*?(?:\x07|\x1b\\|\x9c|$)"
    r"|\x1b[ -/]*[0-~]?",
    re.DOTALL,
)
# Every other control, the marks that reorder or hide text around them, and lone surrogates, which no stream can encode.
_CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff\ufff9-\ufffb]"
)


def plain(text: str) -> str:
    """Other people's text without terminal sequences, control characters and marks that reorder it.

    Newlines and tabs stay, joiners too (emoji and several scripts need them). It is still not safe as markup: escape it
    for HTML and Markdown.
    """
    return _CONTROLS.sub("", _ESCAPES.sub("", text.replace("\r\n", "\n")))


def one_line(text: str, limit: int = 80) -> str:
    """`plain` text on one line of at most `limit` characters, an ellipsis in place of what was cut."""
    line = " ".join(plain(text).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def _known(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)


def _fixed(value: float, digits: int) -> str:
    text = f"{value:.{digits}f}"
    return (MINUS + text[1:] if float(text) else text[1:]) if text.startswith("-") else text


def _one_decimal(value: float) -> str:
    return _fixed(value, 1)


def _significant(value: float, digits: int = 4) -> str:
    if value == 0:
        return "0"
    text = f"{value:.{digits}g}"
    if "e" not in text and abs(value) >= 1000:
        text = f"{value:,.0f}"
    return text.replace("-", MINUS, 1) if text.startswith("-") else text


def _with_unit(text: str, unit: str) -> str:
    return f"{text} {'' if unit in UNSPOKEN else unit}".rstrip()


def _noun(value: float, unit: str) -> str:
    return (
        ("point" if signed(value, unit)[1:] == "1.0" else "points")
        if unit == SHARE
        else ""
        if unit in UNSPOKEN
        else unit
    )


def _scaled(value: float | None, units: tuple[str, ...], gap: str) -> str:
    if not _known(value):
        return MISSING
    scaled, step = abs(float(value)), 0
    # 999.5 shows as 1000 in three digits, so it belongs to the next unit.
    while scaled >= 999.5 and step < len(units) - 1:
        scaled, step = scaled / 1000, step + 1
    decimals = 0 if step == 0 else 2 if scaled < 9.995 else 1 if scaled < 99.95 else 0
    return f"{MINUS if value < 0 else ''}{scaled:.{decimals}f}{gap}{units[step]}".rstrip()


def metric_name(metric: str) -> str:
    """A metric in words: `token_f1` to `token F1`, `rougeL` to `ROUGE-L`."""
    return " ".join(_METRIC_WORDS.get(word, word) for word in one_line(metric.replace("_", " "), 48).split(" "))
