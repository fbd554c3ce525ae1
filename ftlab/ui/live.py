"""Keeping an open page fresh while a sweep writes: look at the snapshot's number every second, rerun when it moved."""

from __future__ import annotations

from pathlib import Path

import duckdb
import streamlit as st

from ftlab.errors import FtlabError
from ftlab.ui import data

EVERY_SECONDS = 1.0
"""A sweep publishes every two seconds at most; with one more to notice it, a page is well under five seconds old."""


def follow(results: Path, shown: data.Source | None) -> None:
    """Rerun the page as soon as another snapshot than the one on it is the newest, or a sweep was killed."""

    @st.fragment(run_every=EVERY_SECONDS)
    def watch() -> None:
        try:
            newest = data.newest(results)
        except (OSError, FtlabError, duckdb.Error):
            # The folder is being replaced or has just gone: what is on the page stays true, the next look tells more.
            return
        if newest is not None and newest != shown:
            st.rerun(scope="app")

    watch()
