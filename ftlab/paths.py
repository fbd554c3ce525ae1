"""Where ftlab keeps what it fetches. The results folder is the user's to name; the cache is shared by all of them."""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir() -> Path:
    """The folder of fetched wheels, models and data: `FTLAB_CACHE`, else `~/.cache/ftlab`. It need not exist yet."""
    named = os.environ.get("FTLAB_CACHE")
    return Path(named).expanduser().absolute() if named else Path.home() / ".cache" / "ftlab"
