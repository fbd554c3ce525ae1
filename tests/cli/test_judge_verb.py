"""`ftlab judge`: from the spec to the verdict, its agreement with people shown before its scores count."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from desk import SPEC, Desk

from ftlab.cli import main
from ftlab.cli.status import newest_view
from ftlab.testing.journals import make_results
from ftlab.testing.judge_server import FakeServer, perfect, serving

SECRET = "sk-very-secret-key"
FAIR = {"zero_shot": {"quality": 0.3}, "lora": {"quality": 0.9}}


@pytest.fixture(scope="module")
def shared() -> Iterator[FakeServer]:
    with serving(lambda question: 500) as running:
        yield running


@pytest.fixture(scope="module")
def ran(shared: FakeServer, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder where everything was run while the judge's server failed, and what was said."""
    desk = Desk(tmp_path_factory.mktemp("judged"))
    block = f"{{endpoint: {{url: '{shared.url}', model: big, api_key: '${{env:JUDGE_KEY}}', retries: 0}}}}"
    spec = SPEC.replace("decision: {metric: accuracy}", "decision: {metric: judge}")
    (desk.folder / "spec.yaml").write_text(f"{spec}judge: {block}\n")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("JUDGE_KEY", SECRET)
        done = desk("run", "spec.yaml", fake=FAIR)
    assert done.returncode == 0, done.stderr
    return desk.folder, done.stderr


@pytest.fixture
def server(shared: FakeServer) -> FakeServer:
    shared.judge = perfect
    shared.questions.clear()
    return shared


@pytest.fixture
def folder(ran: tuple[Path, str], server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("JUDGE_KEY", SECRET)
    return Path(shutil.copytree(ran[0], tmp_path / "desk"))


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_bytes()) for path in sorted(folder.glob("results/*/judgements/*.json"))]


def view_of(folder: Path) -> dict[str, Any]:
    (home,) = (path.parent for path in folder.glob("results/*/resolved.json"))
    view = newest_view(folder / "results", home.name)
    assert view is not None
    return view.model_dump(mode="json")


def ftlab(verb: str, folder: Path, *arguments: str) -> int:
    return main([verb, *arguments, "--results", str(folder / "results")])


def rate(folder: Path, record: dict[str, Any], agree: bool) -> int:
    """A person who has seen every pair of the first run, and agrees with the perfect judge or says the opposite."""
    import pyarrow.parquet as pq

    run = record["runs"][0]
    stage = folder / "results" / "stages" / "judgement" / run["stage"] / "judged.parquet"
    lines = []
    for row in pq.read_table(stage).to_pylist():
        choice = "tie" if row["score"] == 0.5 else "a" if (row["score"] > 0.5) == agree else "b"
        lines.append({
            "time": "2026-01-01T00:00:00Z", "rater": "ann", "split": "validation", "example_id": row["example_id"],
            "kind": "pair", "arm_a": run["arm_id"], "arm_b": record["baseline_arm_id"],
            "key_a": run["predictions"], "key_b": record["baseline_predictions"], "choice": choice,
        })  # fmt: skip
    home = next(folder.glob("results/*/judgements")).parent / "ratings"
    home.mkdir(exist_ok=True)
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (home / "ann.jsonl").write_text(text + '{"kind": "score", "score": 1}\n{"kind": "pa')
    return len(lines)


def test_from_the_judge_to_a_decision(folder: Path, server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert ftlab("judge", folder) == 0
    asked = len(server.questions)
    record = records(folder)[-1]
    assert record["answered"]
    assert not record["counts"]
    assert "agreement with people not measured: 0 rated pairs" in record["why"]
    view = view_of(folder)
    assert view["conclusion"]["kind"] == "undecided"
    assert "the judge's scores do not count" in view["conclusion"]["sentence"]
    best = max(view["arms"], key=lambda arm: arm["metrics"]["judge"]["value"])
    assert best["method_name"] == "lora"
    assert best["difference"]["estimate"]["value"] == pytest.approx(best["metrics"]["judge"]["value"] - 0.5)
    assert best["difference"]["simultaneous"]
    baseline = next(arm for arm in view["arms"] if arm["is_baseline"])
    assert baseline["metrics"]["judge"]["value"] == 0.5

    # People who agree make the scores count; nothing is asked again.
    rated = rate(folder, record, agree=True)
    capsys.readouterr()
    assert ftlab("judge", folder) == 0
    assert len(server.questions) == asked > 0
    assert "kappa 1.00" in capsys.readouterr().out
    newest = records(folder)[-1]
    assert (newest["number"], newest["counts"], newest["shared"], newest["raters"]) == (3, True, rated, 1)
    view = view_of(folder)
    assert view["judge"]["counts"]
    assert view["conclusion"]["kind"] == "use"
    assert ftlab("judge", folder) == 0
    assert len(records(folder)) == 3, "nothing changed, so nothing is put on record"

    # The ledger built anew from the files says the same, and so do the surfaces.
    assert ftlab("rebuild", folder) == 0
    assert view_of(folder) | {"snapshot": None} == view | {"snapshot": None}
    assert ftlab("report", folder, "-o", str(folder / "report.html")) == 0
    assert "kappa 1.00" in (folder / "report.html").read_text(encoding="utf-8")
    capsys.readouterr()
    assert ftlab("show", folder) == 0
    assert "kappa 1.00" in " ".join(capsys.readouterr().out.split())


def test_the_test_rows_are_judged_when_they_are_opened_and_the_key_is_nowhere(folder: Path) -> None:
    assert ftlab("judge", folder) == 0
    desk = Desk.__new__(Desk)
    desk.folder, desk.results = folder, folder / "results"
    decided = desk("decide", fake=FAIR)
    assert decided.returncode == 0, decided.stderr
    assert [one["split"] for one in records(folder)][-1] == "test"
    verdict = json.loads(next(folder.glob("results/*/verdict.json")).read_bytes())
    assert verdict["split"] == "test"
    assert verdict["judge"]["asked"] == records(folder)[-1]["asked"] > 0
    assert SECRET not in decided.stdout + decided.stderr
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 20
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]


def test_people_who_disagree_keep_the_scores_out(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ftlab("judge", folder) == 0
    rate(folder, records(folder)[-1], agree=False)
    capsys.readouterr()
    assert ftlab("judge", folder, "--json") == 0
    record = json.loads(capsys.readouterr().out)["judgements"][0]
    assert record["kappa"]["value"] < 0.6
    assert not record["counts"]
    assert "it agrees too little with people" in record["why"]


def test_a_judge_that_always_says_a_is_all_bias(folder: Path, server: FakeServer) -> None:
    server.judge = lambda question: "A"
    assert ftlab("judge", folder) == 0
    record = records(folder)[-1]
    assert record["first_place"]["value"] == 1.0
    assert record["flipped"] == record["asked"] > 0
    assert all(run["wins"] == run["losses"] == 0 for run in record["runs"])
    assert all(arm["metrics"]["judge"]["value"] == 0.5 for arm in view_of(folder)["arms"])


def test_a_judge_that_does_not_answer_costs_the_run_nothing(
    ran: tuple[Path, str], folder: Path, server: FakeServer
) -> None:
    assert "the judge did not answer" in ran[1]
    assert "status 500" in ran[1]
    view = view_of(folder)
    assert not any("judge" in arm["metrics"] for arm in view["arms"])
    assert "the judge did not answer" in view["conclusion"]["sentence"]
    assert any(part["what"] == "the judge's scores" for part in view["missing"])
    server.judge = lambda question: 503
    assert ftlab("judge", folder) == 3
    assert ftlab("judge", folder) == 3


def test_a_missing_key_is_told_before_the_run_and_does_not_end_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JUDGE_KEY")
    desk = Desk.__new__(Desk)
    desk.folder, desk.results = folder, folder / "results"
    done = desk("resume", fake=FAIR)
    assert done.returncode == 0, done.stderr
    assert "the judge cannot be asked as it stands" in done.stderr.splitlines()[0]
    assert "the judge was not asked: judge.endpoint.api_key" in done.stderr.splitlines()[-1]


def test_bad_input(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert ftlab("judge", folder, "--split", "test") == 2
    assert "there are no answers on 'test' to judge (there are: validation)" in capsys.readouterr().err
    monkeypatch.delenv("JUDGE_KEY")
    assert ftlab("judge", folder) == 2
    assert "JUDGE_KEY" in capsys.readouterr().err
    make_results(folder / "results", examples=10, curve_points=2)
    assert ftlab("judge", folder, "medical-specialty") == 2
    assert "has no judge; add `judge:` to its spec" in capsys.readouterr().err
