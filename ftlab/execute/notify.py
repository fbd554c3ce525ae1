"""Tell people that a sweep has ended: a POST to a webhook, or whatever apprise can reach.

Such an address is a secret (whoever has it can write there), so a spec names the environment variable that holds it and
the address itself is never stored, nor shown when it cannot be reached.
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any

from ftlab.errors import MissingExtraError, UsageError
from ftlab.spec.secrets import ENV

TIMEOUT_SECONDS = 10.0


def check_addresses(references: Sequence[str]) -> None:
    """Raise UsageError for a variable that is not set, MissingExtraError for an address that needs apprise without it.

    To be asked before a night's work, not after it.
    """
    for reference in references:
        name, address = _resolve(reference)
        if not address:
            raise UsageError(
                f"execute.notify names the environment variable {name}, which is not set; set it or leave it out"
            )
        if not _is_webhook(address):
            _apprise()


def notify(references: Sequence[str], title: str, lines: Sequence[str], facts: dict[str, Any]) -> list[str]:
    """Tell every address. Returns one sentence for each that could not be told, without the address.

    A webhook gets `{"title", "text", ...facts}` as JSON; `text` is what Slack and Mattermost show.
    """
    failures = []
    text = "\n".join(lines)
    for reference in references:
        name, address = _resolve(reference)
        try:
            if _is_webhook(address):
                _post(address, {"title": title, "text": f"{title}\n{text}", **facts})
            elif not _told_by_apprise(address, title, text):
                failures.append(f"the address in {name} could not be notified")
        except (OSError, ValueError, MissingExtraError) as error:
            reason = f"HTTP {error.code}" if isinstance(error, urllib.error.HTTPError) else type(error).__name__
            failures.append(f"the address in {name} could not be notified ({reason})")
    return failures


def _resolve(reference: str) -> tuple[str, str]:
    """The variable's name and what it holds."""
    found = ENV.fullmatch(reference)
    if found is None:
        raise UsageError(
            "expected ${env:NAME} under execute.notify; an address is a secret and does not belong in a spec"
        )
    return found[1], os.environ.get(found[1], "").strip()


def _is_webhook(address: str) -> bool:
    return address.lower().startswith(("http://", "https://"))


def _post(address: str, content: dict[str, Any]) -> None:
    body = json.dumps(content).encode()
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"}, method="POST")
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS):
        pass


def _apprise() -> Any:
    try:
        import apprise
    except ImportError:
        raise MissingExtraError(
            "notifications to addresses other than http(s) need apprise; run: pip install 'ftlab[notify]'"
        ) from None
    return apprise


def _told_by_apprise(address: str, title: str, text: str) -> bool:
    teller = _apprise().Apprise()
    return bool(teller.add(address)) and bool(teller.notify(title=title, body=text))
