"""The golden ledger of the present schema version: `python -m ftlab.testing.golden tests/golden`.

Each release of a new version adds its own; one that is there is never written again, for what it proves is that files
of that version, as they were, still open.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import duckdb

from ftlab.decide.compare import update_comparisons
from ftlab.errors import UsageError
from ftlab.store.ledger import LEDGER_FILE, Ledger
from ftlab.store.migrations import VERSION
from ftlab.testing.journals import make_results

BLOCK_BYTES = 16_384
"""The smallest that DuckDB has: a golden file is kept in the repository."""


def golden_name(version: int = VERSION) -> str:
    """The file's name for a schema version."""
    return f"ledger-v{version}.duckdb"


def write_golden(folder: Path) -> Path:
    """Write the ledger of a small invented sweep with one opening of the test rows.

    Raises UsageError when this version has one already.
    """
    target = folder / golden_name()
    if target.exists():
        raise UsageError(f"{target} is there already, and a golden ledger is never replaced")
    with tempfile.TemporaryDirectory() as name:
        results = Path(name)
        make_results(results, examples=12, items=6, curve_points=8, opened=True)
        with Ledger(results, update_comparisons) as ledger:
            ledger.catch_up()
        with duckdb.connect() as connection:
            connection.execute(f"ATTACH '{results / LEDGER_FILE}' AS ledger (READ_ONLY)")
            connection.execute(f"ATTACH '{target}' AS golden (BLOCK_SIZE {BLOCK_BYTES})")
            connection.execute("COPY FROM DATABASE ledger TO golden")
    return target


if __name__ == "__main__":
    try:
        print(write_golden(Path(sys.argv[1] if len(sys.argv) > 1 else "tests/golden")))
    except UsageError as error:
        sys.exit(str(error))
