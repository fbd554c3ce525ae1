"""Results for other tools: tables as CSV or Parquet, weights as an adapter or a merged model with their model card.

Everything is written into a new folder under a temporary name and renamed at the end: there is a whole export or none.
"""

from __future__ import annotations

import csv
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftlab.catalog import METHODS
from ftlab.decide.view import ArmView, DecisionView
from ftlab.errors import StorageError, UsageError
from ftlab.execute.stages import MANIFEST, SUMMARY, StageRecord, StageStore
from ftlab.files import WRITE_ERRORS, fsync_dir, fsync_file, make_folder, storage_errors
from ftlab.plan.run import RunConfig
from ftlab.report.model_card import model_card
from ftlab.text import plain

if TYPE_CHECKING:
    import duckdb

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""What makes a spreadsheet read a text cell as a formula."""

CSV_RULE = """\
Text cells that start with = + - @ or a tab get an apostrophe in front: a spreadsheet would run them as a formula.
Terminal escapes and control characters are taken out. Numbers are written as they are; an empty cell is a missing
value. For text as it was, untouched, export with --format parquet.
"""
CARD = "README.md"
_NOT_WEIGHTS = {MANIFEST, SUMMARY, "curves.parquet"}

_TABLES = {
    "runs": """
        SELECT r.experiment_id, e.name AS experiment, r.run_id, r.arm_id, a.label AS arm, a.method_name AS method,
            a.family, a.model_source AS model, a.model_revision, r.seed,
            (r.config_json::JSON->>'fold')::INTEGER AS fold, r.status, r.reason, r.attempt, r.started_ts,
            r.finished_ts, a.method_json AS config
        FROM runs r JOIN experiments e USING (experiment_id) LEFT JOIN arms a ON a.arm_id = r.arm_id
        WHERE r.run_id IN (SELECT unnest($runs::VARCHAR[])) ORDER BY r.position, r.seed""",
    "stages": """
        SELECT r.run_id, a.label AS arm, r.seed, (r.config_json::JSON->>'fold')::INTEGER AS fold,
            t.kind, t.name, t.key, t.state, t.cached, t.seconds, s.bytes,
            s.summary_json AS summary
        FROM runs r JOIN run_stages t USING (run_id) LEFT JOIN arms a ON a.arm_id = r.arm_id
            LEFT JOIN stages s ON s.kind = t.kind AND s.key = t.key
        WHERE r.run_id IN (SELECT unnest($runs::VARCHAR[])) ORDER BY r.position, r.seed, t.position""",
    "metrics": """
        SELECT r.run_id, a.label AS arm, r.seed, (r.config_json::JSON->>'fold')::INTEGER AS fold,
            m.split, m.key AS metric, m.value, m.low, m.high, m.n, m.unit,
            m.direction, m.interval
        FROM metrics m JOIN runs r USING (run_id) LEFT JOIN arms a ON a.arm_id = r.arm_id
        WHERE r.run_id IN (SELECT unnest($runs::VARCHAR[])) ORDER BY r.position, r.seed, m.split, m.key""",
    "comparisons": """
        SELECT c.kind, c.metric, c.split, c.task, c.arm_id, a.label AS arm, c.baseline_arm_id, b.label AS baseline, c.n,
            c.dropped, c.estimate, c.low, c.high, c.p, c.p_adjusted, c.fixed, c.broke, c.method, c.seed
        FROM comparisons c JOIN arms a ON a.arm_id = c.arm_id LEFT JOIN arms b ON b.arm_id = c.baseline_arm_id
        WHERE c.arm_id IN (SELECT arm_id FROM runs WHERE run_id IN (SELECT unnest($runs::VARCHAR[])))
        ORDER BY c.kind, c.metric, c.split, c.task, a.position""",
    "ratings": """
        SELECT t.rater, t."time", t.kind, t.split, t.example_id, t.arm_a, a.label AS label_a, t.arm_b,
            b.label AS label_b, t.choice, t.score, t.key_a, t.key_b
        FROM ratings t LEFT JOIN arms a ON a.arm_id = t.arm_a LEFT JOIN arms b ON b.arm_id = t.arm_b
        WHERE t.experiment_id IN (SELECT experiment_id FROM runs WHERE run_id IN (SELECT unnest($runs::VARCHAR[])))
        ORDER BY t.path, t.line_offset""",
    "predictions": """
        SELECT r.run_id, a.label AS arm, r.seed, (r.config_json::JSON->>'fold')::INTEGER AS fold,
            e.split, e.position, e.example_id, e.text, e.target, p.output,
            s.parsed, s.correct, p.prompt_tokens, p.output_tokens, p.seconds, p.finish
        FROM runs r
        JOIN run_stages pt ON pt.run_id = r.run_id AND pt.kind = 'predictions' AND pt.state = 'complete'
        JOIN predictions p ON p.key = pt.key
        JOIN run_stages d ON d.run_id = r.run_id AND d.kind = 'dataset'
        JOIN examples e ON e.dataset_key = d.key AND e.split = pt.name AND e.example_id = p.example_id
        LEFT JOIN run_stages st ON st.run_id = r.run_id AND st.kind = 'scores' AND st.name = pt.name
        LEFT JOIN (SELECT key, example_id, any_value(parsed) AS parsed,
                any_value(score) FILTER (WHERE metric = 'accuracy') AS correct
            FROM scores GROUP BY key, example_id) s ON s.key = st.key AND s.example_id = p.example_id
        LEFT JOIN arms a ON a.arm_id = r.arm_id
        WHERE r.run_id IN (SELECT unnest($runs::VARCHAR[])) ORDER BY r.position, r.seed, e.split, e.position""",
}


def export_tables(cursor: duckdb.DuckDBPyConnection, run_ids: Sequence[str], to: Path, form: str) -> list[Path]:
    """Write runs, stages, metrics, comparisons, ratings and predictions of these runs into the new folder `to`.

    Args:
        cursor: over a snapshot.
        run_ids: in full.
        to: a folder that does not exist yet.
        form: `csv` or `parquet`.

    Raises:
        UsageError: `to` exists.
        StorageError: it cannot be written.
    """
    write = {"csv": _write_csv, "parquet": _write_parquet}[form]
    with new_folder(to) as folder:
        for name, query in _TABLES.items():
            write(cursor, query, {"runs": list(run_ids)}, folder / f"{name}.{form}")
        if form == "csv":
            (folder / "README.txt").write_text(CSV_RULE, encoding="utf-8")
    return sorted(to.iterdir())


def guard(cell: object) -> object:
    """A CSV cell that no spreadsheet runs. Numbers and missing values stay; see `CSV_RULE`."""
    if not isinstance(cell, str):
        return cell
    text = plain(cell)
    # Blanks before the sign do not stop every spreadsheet.
    return f"'{text}" if text.lstrip(" ").startswith(FORMULA_STARTS) else text


def export_adapter(results: Path, view: DecisionView, arm: ArmView, config: RunConfig, to: Path) -> Path:
    """Copy a run's adapter weights with the model card into the new folder `to`.

    Raises UsageError when the run has no adapter or `to` exists, StorageError when its weights are not whole on disk.
    """
    if arm.family != "adapter":
        other = "--format merged" if config.key("weights") else "nothing: a prompt has no weights"
        raise UsageError(f"{plain(arm.label)} is no adapter ({arm.family}); export {other}")
    stage = _weights(results, config)
    with new_folder(to) as folder:
        for file in stage.path.iterdir():
            if file.is_file() and file.name not in _NOT_WEIGHTS:
                shutil.copyfile(file, folder / file.name)
        _write_card(folder, view, arm, config, "adapter")
    return to


def export_merged(results: Path, view: DecisionView, arm: ArmView, config: RunConfig, to: Path) -> Path:
    """Write a run's complete model in safetensors, its tokenizer and the model card into the new folder `to`.

    Adapters are merged in float32 and stored in the precision of the experiment. Raises as `export_adapter`.
    """
    import torch

    from ftlab.models.load import load_model
    from ftlab.models.sources import fetch_model

    stage = _weights(results, config)
    _check_free(to)
    method = METHODS.load(config.method["type"])()
    exact = config.model.model_copy(update={"dtype": "float32"})
    base = load_model(exact, fetch_model(exact))
    model = method.restore(base, stage.path, method.Config.model_validate(config.method))
    if hasattr(model, "merge_and_unload"):
        model = model.merge_and_unload(safe_merge=True)
    with new_folder(to) as folder:
        model.to(getattr(torch, config.model.dtype)).save_pretrained(folder, safe_serialization=True)
        base.tokenizer.save_pretrained(folder)
        _write_card(folder, view, arm, config, "merged")
    return to


@contextmanager
def new_folder(to: Path) -> Iterator[Path]:
    """A folder to fill, which becomes `to` when the block ends well and vanishes when it does not.

    Raises UsageError when `to` exists, StorageError when it cannot be written.
    """
    _check_free(to)
    temporary = to.with_name(f".{to.name}.{secrets.token_hex(6)}.tmp")
    make_folder(to.parent)
    make_folder(temporary, asked=to)
    try:
        with storage_errors(to, WRITE_ERRORS):
            yield temporary
            for file in temporary.rglob("*"):
                if file.is_file():
                    fsync_file(file)
        _check_free(to)
        with storage_errors(to):
            os.rename(temporary, to)
            fsync_dir(to.parent)
    except BaseException:
        with suppress(OSError):
            shutil.rmtree(temporary)
        raise


def _check_free(to: Path) -> None:
    if os.path.lexists(to):
        raise UsageError(f"{to} exists already and is not overwritten; name a new folder by --to")


def _weights(results: Path, config: RunConfig) -> StageRecord:
    key = config.key("weights")
    if key is None:
        raise UsageError(f"{config.method_name} trains nothing, so there are no weights to export")
    stage = StageStore(results).complete("weights", key, verify=True)
    if stage is not None and stage.collected:
        raise UsageError(
            f"the weights of run {config.run_id} were removed by `ftlab gc`; train them again by "
            f"`ftlab retry {config.experiment_id} --run {config.run_id}`"
        )
    if stage is None:
        raise StorageError(
            f"the weights of run {config.run_id} are not whole on disk (stages/weights/{key}); "
            f"make them again: ftlab resume {config.experiment_id}"
        )
    return stage


def _write_card(folder: Path, view: DecisionView, arm: ArmView, config: RunConfig, form: str) -> None:
    card = model_card(view, arm, form, config.seed, config.model.revision)
    (folder / CARD).write_text(card, encoding="utf-8")


def _write_csv(cursor: duckdb.DuckDBPyConnection, query: str, values: dict[str, Any], path: Path) -> None:
    result = cursor.execute(query, values)
    with path.open("x", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([column[0] for column in result.description or ()])
        while rows := result.fetchmany(5000):
            writer.writerows([guard(cell) for cell in row] for row in rows)


def _write_parquet(cursor: duckdb.DuckDBPyConnection, query: str, values: dict[str, Any], path: Path) -> None:
    import pyarrow.parquet as pq

    pq.write_table(cursor.sql(query, params=values).to_arrow_table(), path)
