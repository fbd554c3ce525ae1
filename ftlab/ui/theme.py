"""How the app looks and what its server allows: the one source for `ftlab ui`, mirrored by `.streamlit/config.toml`.

Colours of method families are chosen to read on white and on the dark background alike (contrast of at least 3 against
either) and to stay apart for the common kinds of colour blindness; every family also has a shape of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

LOCAL = ("127.0.0.1", "localhost", "::1")
"""The addresses that only this machine reaches."""
ASSETS = Path(__file__).parent / "assets"
ICON = ASSETS / "icon.png"

GREY = "#7b8694"
"""For whatever is present and not emphasised: dominated points, zero lines, axes."""
AMBER = "#b7791f"
"""For the smallest gain that counts: a mark to be passed."""
WORST, BEST = "#3a7fc8", "#cf6a17"
"""The ends of a scale from the worst value to the best. Blue to orange stays apart for every common kind of colour
blindness, and each colour between them reads on both themes."""


@dataclass(frozen=True, slots=True)
class Family:
    """How one method family is drawn everywhere: its name for people, its colour, its shape in charts and in text."""

    name: str
    color: str
    shape: str
    glyph: str


FAMILIES = {
    "prompt": Family("Prompting", "#3a7fc8", "circle", "●"),
    "adapter": Family("Adapter", "#cf6a17", "square", "■"),
    "full": Family("Full fine-tuning", "#1f9a76", "triangle-up", "▲"),
}
OTHER = Family("Other", "#9368cf", "diamond", "◆")


def family(key: str) -> Family:
    """The look of a method family; plug-ins of unknown families share one look."""
    return FAMILIES.get(key, OTHER)


_CATEGORICAL = ["#3a7fc8", "#cf6a17", "#1f9a76", "#9368cf", "#b7791f", "#c2558a", "#4d8f9e", "#7b8694"]

SETTINGS: dict[str, Any] = {
    "browser.gatherUsageStats": False,
    "client.showErrorDetails": "none",
    "client.showErrorLinks": "false",
    "client.toolbarMode": "viewer",
    "server.address": "127.0.0.1",
    "server.enableStaticServing": False,
    "server.fileWatcherType": "none",
    "server.headless": True,
    "theme.baseRadius": "6px",
    "theme.headingFontSizes": ["1.75rem", "1.25rem", "1.05rem", "1rem", "1rem", "1rem"],
    "theme.headingFontWeights": [650, 620, 600, 600, 600, 600],
    "theme.paddingTop": "1rem",
    "theme.paddingBottom": "3rem",
    "theme.chartCategoricalColors": _CATEGORICAL,
    "theme.light.primaryColor": "#1f5fa8",
    "theme.light.backgroundColor": "#ffffff",
    "theme.light.secondaryBackgroundColor": "#f4f6f9",
    "theme.light.textColor": "#1b2430",
    "theme.light.linkColor": "#1f5fa8",
    "theme.light.borderColor": "#dbe1e8",
    "theme.light.codeTextColor": "#1b2430",
    "theme.light.codeBackgroundColor": "#f4f6f9",
    "theme.dark.primaryColor": "#6aa8e6",
    "theme.dark.backgroundColor": "#10151c",
    "theme.dark.secondaryBackgroundColor": "#1a222d",
    "theme.dark.textColor": "#e7ebf1",
    "theme.dark.linkColor": "#7fb5ec",
    "theme.dark.borderColor": "#303b48",
    "theme.dark.codeTextColor": "#e7ebf1",
    "theme.dark.codeBackgroundColor": "#1a222d",
}


def text_color(kind: str | None) -> str:
    """The colour of text in charts on the theme of a session, `light` or `dark`."""
    return str(SETTINGS[f"theme.{'dark' if kind == 'dark' else 'light'}.textColor"])


def ground_color(kind: str | None) -> str:
    """The colour behind charts on the theme of a session, `light` or `dark`."""
    return str(SETTINGS[f"theme.{'dark' if kind == 'dark' else 'light'}.backgroundColor"])


@cache
def stylesheet() -> str:
    """The rules for our own markup, in `<style>` tags. Colours follow the theme by CSS `light-dark()`."""
    return f"<style>{(ASSETS / 'app.css').read_text(encoding='utf-8')}</style>"
