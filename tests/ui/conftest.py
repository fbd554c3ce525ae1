"""Results folders as sweeps leave them, made once for all tests of the app, and the app opened on one of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftlab.decide.compare import update_comparisons
from ftlab.events import Status
from ftlab.store.ledger import Ledger
from ftlab.testing.journals import ARMS, make_results

APP = Path(__file__).parents[2] / "app.py"


def publish(folder: Path) -> int:
    """Take in every journal of a folder, compare, and publish a snapshot."""
    with Ledger(folder) as ledger:
        ledger.catch_up()
        update_comparisons(ledger.connection)
        return ledger.publish()


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep near its end: finished, failed and running arms, 60 examples, three benchmarks."""
    folder = tmp_path_factory.mktemp("finished")
    make_results(folder, examples=60)
    publish(folder)
    return folder


@pytest.fixture(scope="session")
def decided(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep that was decided: the test rows were opened once."""
    folder = tmp_path_factory.mktemp("decided")
    make_results(folder, examples=60, opened=True)
    publish(folder)
    return folder


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with hostile texts wherever a model, a data set or a spec speaks."""
    folder = tmp_path_factory.mktemp("hostile")
    make_results(folder, examples=40, hostile=True, opened=True)
    publish(folder)
    return folder


@pytest.fixture(scope="session")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An experiment of which nothing has run yet."""
    folder = tmp_path_factory.mktemp("planned")
    make_results(folder, examples=20, statuses={arm.label: Status.WAITING for arm in ARMS})
    publish(folder)
    return folder


@pytest.fixture
def open_app(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """`open_app(results, page, **query)`: the app as it stands after its first run on that page."""
    from streamlit.testing.v1 import AppTest

    def open_page(results: Path, page: str = "", /, **query: str | list[str]) -> Any:
        monkeypatch.setenv("FTLAB_RESULTS", str(results))
        app = AppTest.from_file(str(APP), default_timeout=60)
        if page:
            # Pages are functions, which AppTest cannot name: the first run registers them, the second opens one.
            app.run()
            known = app._registered_pages.items()
            app._page_hash = next(key for key, info in known if info.get("url_pathname") == page)
        for name, value in query.items():
            app.query_params[name] = value
        return app.run()

    return open_page
