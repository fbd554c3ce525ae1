"""`ftlab ui`: the app in the browser, with the look and the limits of `ftlab.ui.theme` wherever it is installed."""

from __future__ import annotations

import errno
import os
import socket
import threading
import time
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from ftlab.cli.common import DEFAULT_RESULTS, Results, say
from ftlab.errors import UsageError

DEFAULT_PORT = 8501
_START_SECONDS = 30.0


def ui(
    results: Results = DEFAULT_RESULTS,
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port to listen on.")] = DEFAULT_PORT,
    host: Annotated[str, typer.Option(help="The address to listen on; 0.0.0.0 opens it to the network.")] = "127.0.0.1",
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in the browser.")] = True,
    ratings: Annotated[
        bool, typer.Option("--ratings/--no-ratings", help="Let people rate answers; from other machines only by login.")
    ] = True,
) -> None:
    """Open the results in the browser, live while a sweep runs. Ctrl-C ends it.

    It reads only, but for ratings of answers, which the Examples page keeps in files of their own.
    """
    from ftlab.store.rating_file import SWITCH
    from ftlab.ui import theme

    check_port(host, port)
    if host not in theme.LOCAL:
        say(
            f"note: whoever reaches {host}:{port} can read everything in {results} unless secrets.toml asks for a login"
        )
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host
    url = f"http://{f'[{shown}]' if ':' in shown else shown}:{port}"
    typer.echo(f"{url}  shows {results.absolute()} (Ctrl-C ends it)")
    if browser:
        threading.Thread(target=_open_when_ready, args=(shown, port, url), daemon=True).start()
    os.environ[SWITCH] = "on" if ratings else "off"
    serve(results, host, port)


def check_port(host: str, port: int) -> None:
    """Raise UsageError with the mend when nothing can listen there: port in use, foreign address, no right to it."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise UsageError(
            f"--host {host}: this is no address of this machine; leave it out to listen on 127.0.0.1"
        ) from error
    with socket.socket(family, kind) as probe:
        # As the server itself does: a port whose last user has just gone may be taken at once.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            raise UsageError(_refusal(host, port, error)) from error


def _refusal(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        other = port + 1 if port < 65535 else DEFAULT_PORT
        return f"port {port} is in use, perhaps by another `ftlab ui`; choose another one: ftlab ui --port {other}"
    if error.errno == errno.EACCES:
        return f"port {port} needs rights that you lack; choose one above 1023: ftlab ui --port {DEFAULT_PORT}"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"--host {host}: no address of this machine; leave it out to listen on 127.0.0.1"
    return f"cannot listen on {host}:{port}: {error.strerror}"


def serve(results: Path, host: str, port: int) -> None:
    """Run the app's server until it is stopped. Settings go in by code: an installed wheel has no `.streamlit`."""
    from streamlit.starlette import App

    from ftlab.ui import theme

    os.environ["FTLAB_RESULTS"] = str(results.absolute())
    entry = Path(theme.__file__).parent / "entry" / "app.py"
    App(entry).run(config={**theme.SETTINGS, "server.address": host, "server.port": port})


def _open_when_ready(host: str, port: int, url: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        try:
            with socket.create_connection((host, port), timeout=1):
                webbrowser.open(url)
                return
        except OSError:
            time.sleep(0.1)
