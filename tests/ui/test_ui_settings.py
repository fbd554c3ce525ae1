"""What the server is told: the same by `ftlab ui` and by `streamlit run app.py`."""

from __future__ import annotations

import socket
import tomllib
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ftlab.cli import ui as verb
from ftlab.errors import UsageError
from ftlab.ui import theme

ROOT = Path(__file__).parents[2]


def flat(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, item in value.items():
        found |= flat(item, f"{prefix}{name}.") if isinstance(item, dict) else {f"{prefix}{name}": item}
    return found


def test_the_settings_file_says_what_the_theme_says() -> None:
    stored = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text(encoding="utf-8"))
    assert flat(stored) == theme.SETTINGS


def test_streamlit_knows_every_setting() -> None:
    from streamlit import config

    known = set(config._config_options_template)
    assert set(theme.SETTINGS) <= known


def test_the_app_is_closed_by_default() -> None:
    assert theme.SETTINGS["server.address"] == "127.0.0.1"
    assert theme.SETTINGS["browser.gatherUsageStats"] is False
    assert theme.SETTINGS["client.showErrorDetails"] == "none"
    assert theme.SETTINGS["client.toolbarMode"] == "viewer"
    assert theme.SETTINGS["server.enableStaticServing"] is False
    assert "server.enableAgentApi" not in theme.SETTINGS


def test_light_and_dark_set_the_same_things() -> None:
    names = {mode: {key.split(".")[-1] for key in theme.SETTINGS if f".{mode}." in key} for mode in ("light", "dark")}
    assert names["light"] == names["dark"] != set()


def test_the_icon_is_a_local_picture() -> None:
    assert theme.ICON.read_bytes().startswith(b"\x89PNG")


def test_the_stylesheet_touches_our_own_classes_only_and_loads_nothing() -> None:
    import re

    style = theme.stylesheet()
    assert "url(" not in style
    assert "@import" not in style
    rules = re.sub(r"/\*.*?\*/", "", style.removeprefix("<style>").removesuffix("</style>"), flags=re.DOTALL)
    selectors = [one.strip() for group in re.findall(r"([^{}]+)\{", rules) for one in group.split(",")]
    assert selectors
    assert not [one for one in selectors if not one.startswith((".ft", ".st-key-", "@media"))]


def test_a_port_in_use_is_refused_with_another_one() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=rf"port {port} is in use.*ftlab ui --port {port + 1}"):
            verb.check_port("127.0.0.1", port)
    verb.check_port("127.0.0.1", port)


@pytest.mark.parametrize("host", ["192.0.2.1", "not a host"])
def test_an_address_of_another_machine_is_refused(host: str) -> None:
    with pytest.raises(UsageError, match="no address of this machine"):
        verb.check_port(host, 8501)


def called(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[dict[str, Any], str]:
    """What `ftlab ui` would serve, and what it printed."""
    import typer

    served: dict[str, Any] = {}
    monkeypatch.setattr(verb, "serve", lambda results, host, port: served.update(results=results, host=host, port=port))
    monkeypatch.setattr(verb, "check_port", lambda host, port: None)
    app = typer.Typer()
    app.command()(verb.ui)
    outcome = CliRunner().invoke(app, ["--no-browser", *arguments])
    assert outcome.exit_code == 0, outcome.output
    return served, outcome.output


def test_the_verb_serves_what_it_was_asked_and_says_where(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    served, output = called(monkeypatch, "--results", str(tmp_path), "--port", "9001")
    assert served == {"results": tmp_path, "host": "127.0.0.1", "port": 9001}
    assert f"http://127.0.0.1:9001  shows {tmp_path}" in output
    assert "note:" not in output


def test_opening_it_to_the_network_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    served, output = called(monkeypatch, "--results", str(tmp_path), "--host", "0.0.0.0")
    assert served["host"] == "0.0.0.0"
    assert "can read everything" in output
    assert "http://127.0.0.1:8501" in output


def test_settings_reach_the_server_by_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import streamlit.starlette

    given: dict[str, Any] = {}

    class Server:
        def __init__(self, script: Path) -> None:
            given["script"] = script

        def run(self, config: dict[str, Any]) -> None:
            given.update(config)

    monkeypatch.setenv("FTLAB_RESULTS", "elsewhere")
    monkeypatch.setattr(streamlit.starlette, "App", Server)
    verb.serve(tmp_path, "127.0.0.1", 9001)
    assert given.pop("script").read_text(encoding="utf-8").rstrip().endswith("main()")
    assert given == {**theme.SETTINGS, "server.port": 9001}
