"""How sure the answer is: the same rows on every surface, and none of them left out."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from ftlab.decide.build import build_view
from ftlab.decide.compare import update_comparisons
from ftlab.decide.view import DecisionView
from ftlab.report.assurance import assurance, pays_back, price_rows
from ftlab.report.html import render_report
from ftlab.report.markdown import escape, render_markdown
from ftlab.report.terminal import print_view
from ftlab.spec.schema import PriceSpec
from ftlab.store.ledger import Ledger
from ftlab.testing.journals import make_results


@pytest.fixture(scope="module")
def decided(tmp_path_factory: pytest.TempPathFactory) -> DecisionView:
    folder: Path = tmp_path_factory.mktemp("assured")
    experiment = make_results(folder, examples=80, items=20, opened=True)
    with Ledger(folder) as ledger:
        ledger.catch_up()
        update_comparisons(ledger.connection)
        return build_view(ledger.connection, experiment)


def test_a_decided_view_says_who_opened_when_why_and_how_gains_held_up(decided: DecisionView) -> None:
    assert decided.split == "test"
    rows = dict(assurance(decided))
    assert rows["rows judged by"] == "80 of test"
    assert rows["test rows"] == "opened once"
    assert "someone@testhost, because: the sweep is done" in rows["opening 1"]
    finalists = [arm for arm in decided.arms if arm.role == "finalist"]
    assert len(finalists) == 2
    for arm in finalists:
        assert arm.difference is not None
        assert arm.validation_difference is not None
        assert f"{arm.label}, validation to test" in rows
    assert "not measured" in rows["seeds"]
    assert rows["tuning"].startswith("prompting 4 arms; lora 3 arms (1 without a result), ")


def test_the_sealed_view_of_the_same_claims_no_opening(decided: DecisionView) -> None:
    sealed = decided.model_copy(update={"openings": [], "test_looks": 0, "split": "validation"})
    rows = dict(assurance(sealed))
    assert rows["test rows"] == "sealed"
    assert not [name for name in rows if name.startswith("opening") or "validation to test" in name]


def test_every_surface_says_the_same_rows(decided: DecisionView) -> None:
    html, markdown = render_report(decided), render_markdown(decided)
    for name, said in assurance(decided):
        assert f"<dt>{name}</dt>" in html
        if name != "not measured":
            assert f"- {escape(name)}: {escape(said)}" in markdown


def test_money_is_shown_where_there_are_prices(decided: DecisionView) -> None:
    assert "What does it cost in money?" not in render_report(decided)
    priced = decided.model_copy(update={"prices": PriceSpec(machine_hour=36.0)})
    assert "What does it cost in money?" in render_report(priced)
    rows = {row[0]: row for row in price_rows(priced, priced.arms)}
    assert set(rows) == {arm.label for arm in decided.arms}
    baseline = next(arm for arm in decided.arms if arm.is_baseline)
    assert pays_back(baseline) == "best prompt"


def test_the_spread_of_several_seeds_is_shown_apart(tmp_path: Path) -> None:
    experiment = make_results(tmp_path, examples=80, items=10, seeds=(0, 1, 2))
    with Ledger(tmp_path) as ledger:
        ledger.catch_up()
        update_comparisons(ledger.connection)
        view = build_view(ledger.connection, experiment)
    rows = dict(assurance(view))
    assert rows["seeds"] == "3 for each arm; the intervals cover the choice of examples and of seeds"
    best = next(arm for arm in view.arms if arm.method_name == "full" and arm.is_best_of_method)
    assert best.spread is not None
    assert best.spread.sd is not None
    said = rows[f"chance in {best.label}"]
    assert said.startswith(f"seeds ±{100 * best.spread.sd:.1f} (standard deviation of 3), examples ±")
    assert said.endswith(
        " (standard error over 80), in points; the examples leave more open: more rows would tell more"
    )
    out = io.StringIO()
    print_view(view, Console(file=out, width=300))
    assert said in out.getvalue()


def test_unequal_numbers_of_seeds_are_told(decided: DecisionView) -> None:
    given = [[0], *([0, 1, 2] for _ in decided.arms[1:])]
    arms = [arm.model_copy(update={"seeds": seeds}) for arm, seeds in zip(decided.arms, given, strict=True)]
    said = dict(assurance(decided.model_copy(update={"arms": arms})))["seeds"]
    assert said.startswith(
        "3 for the arms that led on the first seed, 1 for the others, which cannot be chosen where a seed changes them;"
    )
