"""Hostile text from models, data and specs does nothing on any surface."""

from __future__ import annotations

import io
import re
from html.parser import HTMLParser

import pytest
from jinja2 import Environment
from rich.console import Console

from ftlab.decide.view import DecisionView, Regression
from ftlab.report.html import POLICY, render_report, write_report
from ftlab.report.markdown import escape, render_markdown
from ftlab.report.terminal import print_view

NASTY = (
    "</style><script>alert(1)</script>\"' onerror=alert(1) {{7*7}} {% raw %} ${7*7} javascript:alert(1) "
    "\x1b[31m\x1b]0;owned\x07\u202e ../../etc/passwd <img src=x onerror=alert(2)> ```\n| a | b |\n"
    "[x](javascript:alert(3)) http://evil.example @everyone"
)


class Tags(HTMLParser):
    """Every tag and attribute of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attributes]


def _nasty(view: DecisionView) -> DecisionView:
    """The view with a hostile text wherever a text can stand."""
    arms = [
        arm.model_copy(update={"label": f"{arm.label} {NASTY}", "reason": NASTY, "model": NASTY}) for arm in view.arms
    ]
    case = Regression(
        arm_id=arms[0].arm_id, example_id="e", text=NASTY, target=NASTY, baseline_output=NASTY, arm_output=NASTY
    )
    return view.model_copy(
        update={
            "name": NASTY,
            "question": NASTY,
            "model": [NASTY],
            "arms": arms,
            "benchmarks": [*view.benchmarks, NASTY],
            "regressions": [case],
            "warnings": [NASTY],
            "missing": [part.model_copy(update={"what": NASTY, "why": NASTY}) for part in view.missing],
            "conclusion": view.conclusion.model_copy(update={"sentence": NASTY, "caveat": NASTY}),
            "provenance": {NASTY: NASTY, "packages": {NASTY: NASTY}, "models": [{"source": NASTY}]},
            "updated_at": NASTY,
        }
    )


@pytest.fixture(params=["invented", "stored"])
def nasty(request: pytest.FixtureRequest, ordinary, hostile) -> DecisionView:
    return _nasty(ordinary.view) if request.param == "invented" else hostile.view


def test_the_page_gains_no_tag_and_no_handler(nasty: DecisionView, ordinary):
    page, calm = Tags(), Tags()
    page.feed(render_report(nasty))
    calm.feed(render_report(ordinary.view))
    assert set(page.tags) == set(calm.tags)
    assert "script" not in page.tags
    assert "img" not in page.tags
    assert "a" not in page.tags
    for tag, name, value in page.attributes:
        assert not name.startswith("on"), (tag, name)
        assert name not in ("href", "src", "srcset", "action", "formaction", "xlink:href"), (tag, name)
        assert name != "style" or not value


def test_the_page_forbids_what_it_does_not_use(nasty: DecisionView):
    page = Tags()
    page.feed(render_report(nasty))
    assert ("meta", "content", POLICY) in page.attributes
    assert "default-src 'none'" in POLICY
    assert "script" not in POLICY


def test_templates_in_text_stay_text(nasty: DecisionView):
    page = render_report(nasty.model_copy(update={"question": "{{7*7}} {{ view.name }} {% include 'report.css' %}"}))
    assert "{{7*7}} {{ view.name }}" in page
    assert page.count("color-scheme: light dark") == 1


def test_no_surface_passes_a_control_character(nasty: DecisionView):
    out = io.StringIO()
    print_view(nasty, Console(file=out, width=120))
    for shown in (render_report(nasty), render_markdown(nasty), out.getvalue()):
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", shown)


def test_markup_of_the_terminal_library_is_text(nasty: DecisionView):
    out = io.StringIO()
    marked = nasty.model_copy(update={"question": "[bold]not bold[/bold] :smile: [link=http://x]y[/link]"})
    print_view(marked, Console(file=out, width=200))
    assert "[bold]not bold[/bold] :smile: [link=http://x]y[/link]" in out.getvalue()


def test_markdown_has_no_link_no_html_and_no_broken_table(nasty: DecisionView):
    shown = render_markdown(nasty)
    assert not re.search(r"(?<!\\)\]\(", shown)
    assert "<" not in shown.replace("&lt;", "")
    assert "http://" not in shown
    assert "@everyone" not in shown
    for table in re.findall(r"(?:^\|.*\n)+", shown, re.MULTILINE):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(widths) == 1, table


@pytest.mark.parametrize(
    "line", ["- item", "1. item", "# head", "> quote", "+ item", "=====", "| a |", "```", "<b>", "![x](y)"]
)
def test_a_line_of_markdown_means_nothing(line: str):
    shown = escape(line)
    assert not re.match(r"[-+=#>|`<!]|\d+\.", shown)


def test_the_report_is_written_whole_or_not(ordinary, tmp_path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "report.html"
    write_report(ordinary.view, path)
    before = path.read_bytes()

    def broken(*_: object, **__: object) -> str:
        raise RuntimeError("no")

    monkeypatch.setattr("jinja2.Template.render", broken)
    with pytest.raises(RuntimeError):
        write_report(ordinary.view, path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]


def test_autoescape_is_on():
    from ftlab.report.html import _environment

    assert isinstance(_environment(), Environment)
    assert _environment().from_string("{{ x }}").render(x="<b>") == "&lt;b&gt;"
