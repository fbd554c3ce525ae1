"""ls, show, compare, examples, report and export on a made-up results folder, as a user calls them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ftlab.cli.main import main
from ftlab.decide.compare import update_comparisons
from ftlab.events import EventType
from ftlab.execute.experiments import find_plan
from ftlab.store.journal import EventWriter
from ftlab.store.ledger import Ledger
from ftlab.testing.journals import make_results


def _publish(folder: Path) -> None:
    with Ledger(folder) as ledger:
        ledger.ingest()
        update_comparisons(ledger.connection)
        ledger.publish()


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    make_results(folder, examples=60, items=40)
    _publish(folder)
    return folder


@pytest.fixture
def run(results: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """Call a verb; returns exit code, stdout and stderr."""
    monkeypatch.setenv("FTLAB_RESULTS", str(results))
    monkeypatch.setenv("COLUMNS", "160")

    def call(*words: str) -> tuple[int, str, str]:
        code = main(list(words))
        streams = capsys.readouterr()
        return code, streams.out, streams.err

    return call


def _json(run, *words: str) -> dict:
    code, out, err = run(*words, "--json")
    assert (code, err) == (0, "")
    value = json.loads(out)
    assert value["schema_version"] == 1
    return value


def test_ls_lists_experiments_and_runs(run):
    code, out, _ = run("ls")
    assert code == 0
    assert "medical-specialty" in out
    assert "7 of 9 complete" in out
    code, out, _ = run("ls", "latest")
    assert "lora r=16 learning_rate=0.0005" in out
    assert "the training loss is not finite at step 7" in out
    (experiment,) = _json(run, "ls")["experiments"]
    assert len(_json(run, "ls", experiment["experiment_id"])["runs"]) == 9


def test_show_takes_the_beginning_of_any_id(run):
    (experiment,) = _json(run, "ls")["experiments"]
    one = _json(run, "ls", "latest")["runs"][4]
    assert _json(run, "show")["experiment_id"] == experiment["experiment_id"]
    assert _json(run, "show", experiment["experiment_id"][:10])["name"] == "medical-specialty"
    assert _json(run, "show", one["run_id"][:8])["run"]["run_id"] == one["run_id"]
    arm = _json(run, "show", one["arm_id"][:8])["arm"]
    assert arm["arm_id"] == one["arm_id"]
    assert _json(run, "show", "ranked")["arm"]["method_name"] == "ranked"
    code, out, _ = run("show", one["run_id"])
    assert code == 0
    assert "predictions" in out
    assert "attempt 1" in out
    code, out, _ = run("show", one["arm_id"])
    assert "against the best prompt" in out
    assert "learning_rate" in out


def test_show_of_a_run_has_its_figures_by_label_and_its_confusion(run):
    one = next(row for row in _json(run, "ls", "latest")["runs"] if row["metrics"])
    (report,) = _json(run, "show", one["run_id"])["classes"]
    labels = [row["label"] for row in report["rows"]]
    assert sum(map(sum, report["confusion"])) == 60
    assert {len(counts) for counts in report["confusion"]} == {len(labels) + 1}
    right = sum(report["confusion"][index][index] for index in range(len(labels)))
    assert right / 60 == pytest.approx(one["metrics"]["validation/accuracy"])
    code, out, _ = run("show", one["run_id"])
    assert code == 0
    assert "label, validation" in out
    for label, row in zip(labels, report["rows"], strict=True):
        line = next(line for line in out.splitlines() if line.startswith(label))
        assert f"{row['recall']['value']:.1%}" in line
        assert f" {row['support']} " in line


def test_an_ambiguous_beginning_lists_the_candidates(run):
    code, out, err = run("show", "r")
    assert (code, out) == (2, "")
    assert "stands for more than one" in err
    assert err.count("(run: ") == 8
    assert "and 1 more" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["show", "nope"], "no experiment, arm or run 'nope'"),
        (["show", "\x1b[31mnope"], "'nope'"),
        (["compare", "latest", "lora"], "name two arms or more"),
        (["compare", "lora", "loar"], "did you mean 'lora'?"),
        (["examples", "nope"], "the methods are"),
        (["examples", "lora", "-e", "nope"], "no experiment 'nope'"),
        (["report", "-o", "x.pdf"], "ends with .html, .md, .json"),
        (["report", "-o", "no/such/folder/x.md"], "does not exist"),
        (["export", "zero_shot", "--format", "adapter", "--to", "never"], "a prompt has no weights"),
    ],
)
def test_wrong_words_get_one_clear_sentence(run, words: list[str], said: str):
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert said in err
    assert "\x1b" not in err
    assert "Traceback" not in err


def test_compare_prints_the_table_of_the_view(run):
    view = _json(run, "compare")
    code, out, _ = run("compare")
    assert code == 0
    assert " ".join(view["conclusion"]["sentence"].split()) in " ".join(out.split())
    assert len(view["arms"]) == 9


def test_compare_of_two_arms_is_the_first_against_the_second(run):
    there = _json(run, "compare", "lora", "labels_listed")
    back = _json(run, "compare", "latest", "labels_listed", "lora")
    by_metric = {row["metric"]: row for row in there["comparisons"]}
    assert set(by_metric) == {"accuracy", "macro_f1", "valid_format"}
    assert by_metric["accuracy"]["estimate"]["value"] > 0
    for row in back["comparisons"]:
        assert row["estimate"]["value"] == pytest.approx(-by_metric[row["metric"]]["estimate"]["value"])
    code, out, _ = run("compare", "lora", "full", "labels_listed")
    assert code == 0
    assert out.startswith("Against labels_listed")
    assert out.count("accuracy") == 2


@pytest.mark.parametrize("mode", ["regressed", "improved", "different", "invalid", "all"])
def test_examples_are_of_the_mode_that_was_asked_for(run, mode: str):
    found = _json(run, "examples", "lora", "labels_listed", "--mode", mode, "-n", "1000")
    assert len(found["examples"]) == found["total"]
    baseline, arm = 0, 1
    for example in found["examples"]:
        cells = example["cells"]
        if mode == "regressed":
            assert cells[arm]["score"] < cells[baseline]["score"]
        elif mode == "improved":
            assert cells[arm]["score"] > cells[baseline]["score"]
        elif mode == "different":
            assert (
                cells[arm]["parsed"] != cells[baseline]["parsed"] or cells[arm]["output"] != cells[baseline]["output"]
            )
        elif mode == "invalid":
            assert None in (cells[arm]["parsed"], cells[baseline]["parsed"])
    if mode == "all":
        assert found["total"] == 60


def test_examples_are_laid_beside_the_best_prompt_unless_told_otherwise(run):
    best = next(arm["arm_id"] for arm in _json(run, "show")["arms"] if arm["is_baseline"])
    assert _json(run, "examples", "lora", "-n", "2")["arms"][0] == best
    code, out, _ = run("examples", "lora", "--mode", "improved", "-n", "2")
    assert code == 0
    assert out.count("right answer:") == 2


def test_report_writes_what_the_ending_says(run, tmp_path: Path):
    for name, begin in (("a.html", "<!doctype html>"), ("a.md", "# medical-specialty"), ("a.json", "{")):
        code, out, _ = run("report", "-o", str(tmp_path / name))
        assert code == 0
        assert out.strip() == str(tmp_path / name)
        assert (tmp_path / name).read_text().startswith(begin)
    assert json.loads((tmp_path / "a.json").read_text()) == _json(run, "show")


def test_export_writes_a_new_folder_only(run, tmp_path: Path):
    to = tmp_path / "tables"
    found = _json(run, "export", "latest", "--to", str(to))
    assert "predictions.csv" in found["files"]
    code, _, err = run("export", "--to", str(to))
    assert code == 2
    assert "not overwritten" in err
    code, out, _ = run("export", "lora", "--format", "adapter", "--to", str(tmp_path / "adapter"))
    assert code == 0
    assert "README.md" in out


def test_no_results_name_the_command_that_makes_them(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FTLAB_RESULTS", str(tmp_path))
    for verb in (["ls"], ["show"], ["compare"], ["examples", "a"], ["report"], ["export", "--to", str(tmp_path / "x")]):
        code, out, err = run(*verb)
        assert (code, out) == (2, "")
        assert "ftlab run" in err
    assert list(tmp_path.iterdir()) == []


def test_hostile_results_reach_no_terminal(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    make_results(tmp_path, examples=30, items=20, hostile=True)
    _publish(tmp_path)
    for words in (
        ["ls"],
        ["ls", "latest"],
        ["show"],
        ["show", "lora"],
        ["compare", "lora", "full"],
        ["examples", "lora", "-m", "all"],
    ):
        assert main([*words, "--results", str(tmp_path)]) == 0
        out = capsys.readouterr().out
        assert "\x1b" not in out
        assert "\x07" not in out
    assert "<script>" in out


def test_a_warning_of_a_training_is_in_show_with_its_step_and_in_every_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    make_results(tmp_path, examples=20, items=20)
    plan = find_plan(tmp_path)
    trained = next(run for run in plan.runs if run.key("weights"))
    newest = max((tmp_path / trained.experiment_id / "runs" / trained.run_id).glob("a*/events.jsonl"))
    with EventWriter(newest) as write:
        write(EventType.WARNING, code="overfitting", message="it learns by heart", step=8)
    _publish(tmp_path)
    monkeypatch.setenv("FTLAB_RESULTS", str(tmp_path))
    assert main(["show", trained.run_id]) == 0
    assert "warning  at step 8: it learns by heart" in capsys.readouterr().out
    assert main(["show", trained.run_id, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["warnings"]
    assert ("overfitting", 8) in [(one["code"], one["step"]) for one in found]
    for ending in ("html", "md", "json"):
        path = tmp_path / f"report.{ending}"
        assert main(["report", "-o", str(path)]) == 0
        assert "it learns by heart" in path.read_text()
    assert main(["show", "latest"]) == 0
    assert "it learns by heart" in capsys.readouterr().out
