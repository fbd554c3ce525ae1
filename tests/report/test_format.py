"""How numbers, spans and other people's text are written: the one formatter."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftlab import text
from ftlab.decide.gates import Rule
from ftlab.decide.sentences import _metric
from ftlab.decide.view import BenchmarkChange, Estimate, PairedDifference
from ftlab.report import format as fmt


def test_the_two_sentences_everybody_copies():
    found = PairedDifference(
        estimate=Estimate(value=0.0561, low=0.0312, high=0.0818), p_value=0.01, fixed=77, broke=32, dropped=0
    )
    assert fmt.difference(found) == "+5.6 points (95% CI +3.1 to +8.2)"
    assert fmt.difference_short(found) == "+5.6 (+3.1 to +8.2)"
    assert fmt.flips(found) == "+77 / −32"
    assert fmt.estimate(Estimate(value=0.613, low=0.572, high=0.652)) == "61.3% (57.2 to 65.2)"


def _change(informative: bool | None) -> BenchmarkChange:
    base = Estimate(value=0.5, low=0.4, high=0.6)
    found = PairedDifference(estimate=Estimate(value=0.0), p_value=1.0, fixed=5, broke=6, dropped=0)
    return BenchmarkChange(
        task="t", metric="acc", base=base, arm=base, difference=found, within_limit="yes", informative=informative
    )


def test_losses_stand_beside_gains_and_chance_is_said():
    assert fmt.lost_gained(_change(None)) == fmt.lost_gained(_change(True)) == "6 lost, 5 gained"
    assert fmt.lost_gained(_change(False)) == "6 lost, 5 gained; base at chance"


def test_missing_is_a_dash_everywhere():
    shown = [fmt.difference(None), fmt.difference_short(None), fmt.estimate(None), fmt.flips(None), fmt.gate(None)]
    for write in (text.number, text.signed, text.amount, text.duration, text.size, text.compact, text.count, text.rate):
        shown += [write(None), write(math.nan), write(math.inf)]
    shown += [text.p_value(None), text.date(None), text.interval(None, 0.1)]
    assert set(shown) == {"–"}


def test_an_estimate_without_ends_stands_alone():
    assert fmt.estimate(Estimate(value=0.5)) == "50.0%"
    assert text.difference(-0.031, None, None) == "−3.1 points"


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.056, "+5.6"), (-0.004, "−0.4"), (0.0, "0.0"), (-0.0004, "0.0"), (0.0004, "0.0"), (1.0, "+100.0")],
)
def test_differences_carry_their_sign_but_zero(value: float, shown: str):
    assert text.signed(value) == shown


def test_one_point_is_singular():
    assert text.difference(0.01, None, None) == "+1.0 point"
    assert text.difference(-0.01, None, None) == "−1.0 point"
    assert text.amount(0.01) == "1 point"
    assert text.amount(0.02) == "2 points"
    assert text.amount(0.005) == "0.5 points"


def test_other_units_are_left_alone():
    assert text.difference(-1234.5, -2000, 12.0, "nats") == "−1,234 nats (95% CI −2,000 to +12)"
    assert text.number(0.81234, "") == "0.8123"


@pytest.mark.parametrize(
    ("unit", "value", "number", "difference", "amount"),
    [
        ("share", 0.056, "5.6%", "+5.6 points (95% CI −0.1 to +10.0)", "5.6 points"),
        ("ratio", 1.125, "1.125", "+1.125 (95% CI −0.001 to +0.1)", "1.125"),
        ("count", 1838.0, "1,838", "+1,838 (95% CI −0.001 to +0.1)", "1,838"),
        ("nats", 2.31, "2.31 nats", "+2.31 nats (95% CI −0.001 to +0.1)", "2.31 nats"),
        ("perplexity", 12.4, "12.4", "+12.4 (95% CI −0.001 to +0.1)", "12.4"),
        ("score", -3.0, "−3", "−3 (95% CI −0.001 to +0.1)", "−3"),
    ],
)
def test_every_unit_of_a_metric_is_written_in_its_way(unit, value, number, difference, amount):
    assert text.number(value, unit) == number
    assert text.difference(value, -0.001, 0.1, unit) == difference
    assert text.amount(value, unit) == amount


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 s"),
        (0.0042, "4.2 ms"),
        (0.84, "0.84 s"),
        (4.0, "4 s"),
        (12.34, "12.3 s"),
        (59.97, "1 min 00 s"),
        (245, "4 min 05 s"),
        (3599.6, "1 h 00 min"),
        (7620, "2 h 07 min"),
        (86399, "1 d 00 h"),
        (273600, "3 d 04 h"),
        (-5, "−5 s"),
    ],
)
def test_durations(seconds: float, shown: str):
    assert text.duration(seconds) == shown


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (1240.4, "$1,240"),
        (41.2, "$41.20"),
        (0.9, "$0.90"),
        (0.0031, "$0.0031"),
        (0, "$0"),
        (-3, "−$3.00"),
        (99.999, "$100"),
        (0.000_004, "<$0.0001"),
        (-0.000_004, ">−$0.0001"),
        (None, "–"),
    ],
)
def test_money(amount: float | None, shown: str):
    assert text.money(amount) == shown


def test_a_currency_is_other_people_s_text():
    assert text.money(2, "\x1b[31m€") == "€2.00"


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 B"),
        (512, "512 B"),
        (999.6, "1.00 kB"),
        (7_412_000, "7.41 MB"),
        (12_345_678, "12.3 MB"),
        (538e6, "538 MB"),
    ],
)
def test_sizes(count: float, shown: str):
    assert text.size(count) == shown


def test_counts_and_rates():
    assert text.count(1838) == "1,838"
    assert text.count(-1838) == "−1,838"
    assert text.compact(134_515_008) == "135M"
    assert text.compact(4_884_480) == "4.88M"
    assert text.rate(1284.4) == "1,284 tokens/s"
    assert text.rate(9.871) == "9.87 tokens/s"
    assert text.plural(1, "run") == "1 run"
    assert text.plural(1200, "run") == "1,200 runs"


def test_dates_are_utc_and_free_of_locale():
    assert text.date(1_763_781_180) == "2025-11-22 03:13 UTC"
    assert text.date("2026-11-22T04:13:00+01:00") == "2026-11-22 03:13 UTC"
    assert text.date("2026-11-22T03:13:00") == "2026-11-22 03:13 UTC"
    assert text.date("not a date\x1b[31m") == "not a date"


def test_p_values():
    assert text.p_value(0.0004) == "p < 0.001"
    assert text.p_value(0.0321) == "p = 0.032"
    assert text.p_value(0.5) == "p = 0.50"


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07shown", "shown"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9b31mred", "red"),
        ("a\x00b\x08c\x7fd", "abcd"),
        ("line\r\nnext\tcell", "line\nnext\tcell"),
        ("over\rwritten", "overwritten"),
        ("\u202egnp.exe", "gnp.exe"),
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("lone\ud800", "lone"),
        ("naïve 漢字 👩‍👩‍👧", "naïve 漢字 👩‍👩‍👧"),
        ("\x1b", ""),
    ],
)
def test_plain_text_steers_nothing(raw: str, shown: str):
    assert text.plain(raw) == shown


@given(st.text())
def test_plain_is_settled_and_can_be_written(raw: str):
    shown = text.plain(raw)
    assert text.plain(shown) == shown
    assert "\x1b" not in shown
    shown.encode()


@given(st.text(), st.integers(1, 50))
def test_one_line_keeps_its_limit(raw: str, limit: int):
    line = text.one_line(raw, limit)
    assert len(line) <= limit
    assert "\n" not in line
    assert "\t" not in line


@pytest.mark.parametrize(
    ("metric", "words"),
    [("macro_f1", "macro F1"), ("rougeL", "ROUGE-L"), ("valid_json", "valid JSON"), ("chrf", "chrF"), ("mine", "mine")],
)
def test_metrics_are_called_by_their_names(metric, words):
    assert fmt.metric_name(metric) == words


def test_sentences_and_tables_call_a_metric_by_one_name():
    names = {"token_f1": "token F1", "chrf": "chrF", "bleu": "BLEU", "rougeL": "ROUGE-L", "macro_f1": "macro F1"}
    for key, name in names.items():
        assert fmt.metric_name(key) == name
        rule = Rule(key, "share", "validation", 0.02, 0.02, None, ())
        assert _metric(rule) == name
