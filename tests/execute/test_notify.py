"""Notifications at the end of a sweep: what arrives, what is said when it cannot, and that no address is stored."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ftlab.errors import MissingExtraError, UsageError
from ftlab.execute.notify import check_addresses, notify


def test_a_webhook_hears_the_facts_and_the_words(webhook: list[dict[str, Any]]) -> None:
    assert notify(["${env:HOOK}"], "colours: 3 of 3 runs done", ["Use lora."], {"total": 3}) == []
    (told,) = webhook
    assert told == {"title": "colours: 3 of 3 runs done", "text": "colours: 3 of 3 runs done\nUse lora.", "total": 3}


def test_what_cannot_be_reached_is_said_without_the_address(
    webhook: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOWHERE", "http://127.0.0.1:9/secret-token")
    failures = notify(["${env:REFUSING}", "${env:NOWHERE}", "${env:HOOK}"], "t", [], {})
    assert failures[0] == "the address in REFUSING could not be notified (HTTP 403)"
    assert failures[1].startswith("the address in NOWHERE could not be notified (")
    assert not any("secret-token" in failure for failure in failures)
    assert len(webhook) == 2, "one that fails does not keep the next from being told"


def test_other_addresses_go_through_apprise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLACK", "slack://a/b/c")
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'ftlab\[notify\]'"):
        check_addresses(["${env:SLACK}"])
    told: list[Any] = []

    class Apprise:
        def add(self, address: str) -> bool:
            told.append(address)
            return True

        def notify(self, title: str, body: str) -> bool:
            told.append((title, body))
            return True

    monkeypatch.setitem(sys.modules, "apprise", SimpleNamespace(Apprise=Apprise))
    check_addresses(["${env:SLACK}"])
    assert notify(["${env:SLACK}"], "t", ["a", "b"], {}) == []
    assert told == ["slack://a/b/c", ("t", "a\nb")]


def test_a_variable_that_is_not_set_is_said_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOOK", raising=False)
    with pytest.raises(UsageError, match="the environment variable HOOK, which is not set"):
        check_addresses(["${env:HOOK}"])


def test_a_sweep_tells_how_it_ended_and_stores_no_address(
    webhook: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ftlab.cli.main import main
    from ftlab.testing.tiny import tiny_rows

    spec = """
version: 1
name: colours
model: builtin:smollm2-135m-instruct
data: {source: ./rows.jsonl, splits: {validation: 24, test: 6}}
task: {type: classification, prompt: [{role: user, content: "{{ question }}"}], target: "{{ label }}"}
methods: {zero_shot: {type: prompt}, lora: {type: lora}}
execute: {notify: ["${env:HOOK}"]}
"""
    (tmp_path / "spec.yaml").write_text(spec, encoding="utf-8")
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in tiny_rows(60)), encoding="utf-8")
    monkeypatch.setenv("FTLAB_PIPELINE", "ftlab.testing.fakes:FakePipeline")
    monkeypatch.setenv("FTLAB_FAKE", json.dumps({"lora": {"fault": "usage"}}))
    results = tmp_path / "results"
    assert main(["run", str(tmp_path / "spec.yaml"), "--results", str(results)]) == 3
    (told,) = webhook
    assert told["title"] == "colours: 1 of 2 runs done, 1 failed"
    assert "lora: failed (the fake has no column" in told["text"]
    assert "spent so far: " in told["text"]
    assert "retry   ftlab resume colours-" in told["text"]
    stored = [path for path in results.rglob("*") if path.is_file() and b"secret-token" in path.read_bytes()]
    assert stored == []

    monkeypatch.setenv("FTLAB_FAKE", "{}")
    assert main(["run", str(tmp_path / "spec.yaml"), "--results", str(results)]) == 0
    assert main(["run", str(tmp_path / "spec.yaml"), "--results", str(results)]) == 0
    assert len(webhook) == 2, "a session with nothing to do tells nobody"
    monkeypatch.delenv("HOOK")
    assert main(["run", str(tmp_path / "spec.yaml"), "--results", str(tmp_path / "other")]) == 2
    assert not (tmp_path / "other").exists()
