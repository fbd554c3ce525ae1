"""An app for a team: nothing is shown before the login, nor to those whom the team did not let in."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import APP

from ftlab.testing.journals import make_results
from ftlab.ui import login

AUTH = {
    "redirect_uri": "http://127.0.0.1:8501/oauth2callback",
    "cookie_secret": "c" * 40,
    "client_id": "id",
    "client_secret": "very-secret",
    "server_metadata_url": "https://accounts.example.org/.well-known/openid-configuration",
}
ANNA = {"is_logged_in": True, "email": "anna@example.org", "email_verified": True, "name": "Anna"}


@pytest.fixture
def visit_as(monkeypatch: pytest.MonkeyPatch, finished: Path) -> Callable[..., Any]:
    """`visit_as(user, page, **secrets)`: a page as `user` sees it."""
    from streamlit.testing.v1 import AppTest

    monkeypatch.setattr(login, "_authlib_installed", lambda: True)

    def visit(user: dict[str, Any], page: str = "", /, **secrets: Any) -> Any:
        monkeypatch.setenv("FTLAB_RESULTS", str(finished))
        app = AppTest.from_file(str(APP), default_timeout=60)
        app.user = user
        app.secrets.update(secrets or {"auth": AUTH})
        app.run()
        if page:
            known = app._registered_pages.items()
            app._page_hash = next(key for key, info in known if info.get("url_pathname") == page)
            app.run()
        return app

    return visit


def shown(app: Any) -> str:
    return " ".join(element.body for element in app.main if hasattr(element, "body")) + " ".join(
        str(element.proto) for element in app.main
    )


def test_nothing_is_shown_before_the_login(visit_as: Callable[..., Any]) -> None:
    app = visit_as({})
    assert [button.label for button in app.button] == ["Log in"]
    assert "Log in" in shown(app)
    assert "medical-specialty" not in shown(app)
    assert not app.exception
    assert "very-secret" not in shown(app)


def test_whoever_has_logged_in_sees_the_results(visit_as: Callable[..., Any]) -> None:
    assert "medical-specialty" in shown(visit_as(ANNA))


@pytest.mark.parametrize(
    "user",
    [
        {**ANNA, "email": "anna@example.com"},
        {**ANNA, "email": "anna@sub.example.org"},
        {**ANNA, "email": "anna@example.org.evil.net"},
        {**ANNA, "email": "example.org"},
        {**ANNA, "email": "@example.org"},
        {**ANNA, "email_verified": False},
        {"is_logged_in": True, "name": "Anna"},
    ],
)
def test_other_domains_stay_outside(visit_as: Callable[..., Any], user: dict[str, Any]) -> None:
    app = visit_as(user, auth=AUTH, ftlab={"allowed_domains": ["Example.org"]})
    assert [button.label for button in app.button] == ["Log out"]
    assert "medical-specialty" not in shown(app)


def test_the_domain_is_let_in_however_it_is_written(visit_as: Callable[..., Any]) -> None:
    user = {**ANNA, "email": "Anna@EXAMPLE.org"}
    assert "medical-specialty" in shown(visit_as(user, auth=AUTH, ftlab={"allowed_domains": ["example.ORG"]}))


@pytest.mark.parametrize(
    ("secrets", "why"),
    [
        ({"ftlab": {"allowed_domains": ["example.org"]}}, "lacks the [auth] section"),
        ({"auth": AUTH, "ftlab": {"allowed_domains": "example.org"}}, "expected a list of texts"),
        ({"auth": AUTH, "ftlab": "example.org"}, "expected a list of texts"),
    ],
)
def test_a_mistake_in_the_file_closes_the_app(visit_as: Callable[..., Any], secrets: dict[str, Any], why: str) -> None:
    app = visit_as(ANNA, **secrets)
    assert why in shown(app)
    assert "medical-specialty" not in shown(app)


def test_without_the_library_the_app_is_closed_and_says_what_to_install(
    visit_as: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(login, "_authlib_installed", lambda: False)
    assert login.INSTALL in shown(visit_as(ANNA)).replace('\\"', '"').replace("&quot;", '"')


def test_a_file_that_cannot_be_read_closes_the_app(
    finished: Path, open_app: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secrets.toml").write_text("[auth\n")
    monkeypatch.setattr(login.st, "get_option", lambda _: [str(tmp_path / "secrets.toml")])
    app = open_app(finished)
    assert "cannot be read" in shown(app)
    assert "medical-specialty" not in shown(app)


@pytest.mark.parametrize(
    ("address", "user", "offered"),
    [("127.0.0.1", {}, True), (None, {}, False), ("0.0.0.0", {}, False), ("0.0.0.0", ANNA, True)],
)
def test_who_may_rate(
    address: str | None,
    user: dict[str, Any],
    offered: bool,
    visit_as: Callable[..., Any],
) -> None:
    """An open address, also that of `streamlit run app.py`, lets nobody rate who is not known."""
    from streamlit import config

    before = config.get_option("server.address")
    config.set_option("server.address", address)
    try:
        app = visit_as(user, "examples", **({"auth": AUTH} if user else {"none": "none"}))
        toggles = [toggle for toggle in app.toggle if toggle.label == "Rate answers"]
        assert bool(toggles) == offered
        if user:
            toggles[0].set_value(True).run()
            assert not [field for field in app.text_input if field.label == "Your name"]
    finally:
        config.set_option("server.address", before)


@pytest.mark.parametrize("file", ["[auth]\nclient_id = 'x'\n", "[auth\n"])
def test_the_server_itself_shows_nothing_without_a_login(file: str, tmp_path: Path) -> None:
    """`ftlab ui` where the library is missing or the file is broken: told by a session, not by the test's own app."""
    from browsing import app
    from conftest import publish

    from ftlab.testing.app_session import AppSession

    make_results(tmp_path / "results", examples=4)
    publish(tmp_path / "results")
    (tmp_path / ".streamlit").mkdir()
    (tmp_path / ".streamlit" / "secrets.toml").write_text(file)
    with app(tmp_path / "results") as url, AppSession(url) as session:
        texts = " ".join(session.run().texts)
    assert "This app is closed" in texts or "Log in" in texts
    assert "medical-specialty" not in texts


def test_the_pages_do_not_import_the_login_s_library() -> None:
    code = "import sys, ftlab.ui.app; print('authlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
