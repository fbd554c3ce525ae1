"""Who may see the pages: everybody who reaches the app, or, for a team, whoever logs in.

A team's app has a `secrets.toml` (in `.streamlit` of the folder where it starts, or of the home folder) with what
`st.login` needs, an OpenID Connect client under `[auth]`, and if it likes, whose addresses are let in:

    [auth]
    redirect_uri = "https://ftlab.example.org/oauth2callback"
    cookie_secret = "..."
    client_id = "..."
    client_secret = "..."
    server_metadata_url = "https://accounts.example.org/.well-known/openid-configuration"

    [ftlab]
    allowed_domains = ["example.org"]

Whatever is wrong with that file closes the app: it never opens by mistake.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import streamlit as st

from ftlab.errors import UsageError
from ftlab.store.rating_file import SWITCH, rater_name
from ftlab.ui import parts, theme

INSTALL = 'pip install "ftlab[login]"'


def passed() -> bool:
    """Whether the reader may see the pages; otherwise what there is to do has been drawn."""
    try:
        settings = _settings()
    except UsageError as error:
        parts.empty("This app is closed", str(error))
        return False
    if "auth" not in settings:
        return True
    if not st.user.get("is_logged_in", False):
        parts.empty("Log in", "The results of this app are for a team: log in to see them.")
        st.button("Log in", type="primary", on_click=st.login)
        return False
    if not is_allowed(st.user, _domains(settings)):
        shown = parts.plain(str(st.user.get("email") or "you"))
        parts.empty("Not for this account", f"This app is not open to {shown}. Log in with another account.")
        st.button("Log out", on_click=st.logout)
        return False
    return True


def logged_in() -> str | None:
    """The name of whoever has logged in, as a rater's name: the e-mail address, else the name; None without a login.

    Only meaningful where `passed` is true.
    """
    if "auth" not in _settings():
        return None
    for claim in ("email", "name", "sub"):
        try:
            return rater_name(str(st.user.get(claim) or "")[:60])
        except UsageError:
            continue
    return None


def may_rate() -> bool:
    """Whether this reader may rate answers: from this machine, or known by a login, and not where `--no-ratings` is
    given. Whoever reaches an open address unknown only reads, however the app was started."""
    if os.environ.get(SWITCH) == "off":
        return False
    return st.get_option("server.address") in theme.LOCAL or logged_in() is not None


def is_allowed(user: Mapping[str, Any], domains: list[str]) -> bool:
    """Whether an account may come in: every one where no domains are named, else one whose address ends in one.

    An address that the provider says it has not verified counts for nothing.
    """
    if not domains:
        return True
    name, at, domain = str(user.get("email") or "").rpartition("@")
    return bool(name and at) and domain.lower() in domains and user.get("email_verified") not in (False, "false")


def _domains(settings: Mapping[str, Any]) -> list[str]:
    return [domain.lower() for domain in settings.get("ftlab", {}).get("allowed_domains", [])]


def _settings() -> Mapping[str, Any]:
    """What `secrets.toml` says; empty where there is none. Raises UsageError for one that cannot be gone by."""
    if not st.secrets.load_if_toml_exists():
        if found := [file for file in st.get_option("secrets.files") if Path(file).exists()]:
            raise UsageError(f"{found[0]} cannot be read; mend it, then start the app again")
        return {}
    settings = st.secrets.to_dict()
    own = settings.get("ftlab", {})
    domains = own.get("allowed_domains", []) if isinstance(own, Mapping) else None
    if not isinstance(domains, list) or not all(isinstance(domain, str) and domain for domain in domains):
        raise UsageError("secrets.toml: expected a list of texts as ftlab.allowed_domains, e.g. ['example.org']")
    if "auth" not in settings:
        if domains:
            raise UsageError("secrets.toml names allowed_domains, but lacks the [auth] section that logs people in")
        return settings
    if not _authlib_installed():
        raise UsageError(f"secrets.toml asks for a login, which needs Authlib; install it: {INSTALL}")
    return settings


def _authlib_installed() -> bool:
    from streamlit.auth_util import is_authlib_installed

    return bool(is_authlib_installed())
