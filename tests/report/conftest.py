"""Two results folders, made up once: an ordinary sweep near its end, and one whose every text is hostile."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from ftlab.decide.build import build_view
from ftlab.decide.compare import update_comparisons
from ftlab.decide.view import DecisionView
from ftlab.store.ledger import Ledger
from ftlab.testing.journals import make_results


@dataclass(frozen=True)
class Published:
    """A results folder with a snapshot, and the view of its one experiment."""

    results: Path
    view: DecisionView


def _published(folder: Path, hostile: bool) -> Published:
    experiment = make_results(folder, examples=80, items=60, hostile=hostile, opened=hostile)
    with Ledger(folder) as ledger:
        ledger.ingest()
        update_comparisons(ledger.connection)
        number = ledger.publish()
        return Published(folder, build_view(ledger.connection, experiment, number))


@pytest.fixture(scope="session")
def ordinary(tmp_path_factory: pytest.TempPathFactory) -> Published:
    return _published(tmp_path_factory.mktemp("ordinary"), hostile=False)


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Published:
    return _published(tmp_path_factory.mktemp("hostile"), hostile=True)
