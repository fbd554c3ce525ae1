"""A judge behind an OpenAI-compatible server. Nothing of a request or of the server's words enters a message: a server
may repeat the key it was sent."""

from __future__ import annotations

import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ftlab.errors import UsageError
from ftlab.evaluate.judge import Letter, read_letter
from ftlab.spec.judge import EndpointSpec
from ftlab.spec.secrets import ENV

FIRST_WAIT = 0.5
"""Seconds before the first repetition; each further one waits twice as long."""
LONGEST_WAIT = 30.0
MOST_FAILURES = 3
"""So many questions without an answer one after the other end the asking: the server is not there."""
ANSWER_TOKENS = 16
"""Enough for a letter and a few words around it."""
MAX_REPLY = 2**20
"""Bytes of a reply that are read."""

_BUSY = frozenset({408, 409, 425, 429, 500, 502, 503, 504})


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the questions and the key to another host."""

    def redirect_request(self, *_: Any) -> None:
        return None


class _GivenUpError(Exception):
    """A question that got no answer; the message says why."""


class EndpointJudge:
    """Asks one question after the other, at temperature 0. Raises UsageError when the key's variable is not set.

    Proxies of the environment are not used: the configured host is the only one that is talked to.
    """

    def __init__(
        self,
        spec: EndpointSpec,
        environment: Mapping[str, str] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._spec = spec
        self._sleep = sleep
        self._headers = {"Content-Type": "application/json", "User-Agent": "ftlab"}
        if spec.api_key is not None and (named := ENV.fullmatch(spec.api_key)):
            key = (os.environ if environment is None else environment).get(named[1], "").strip()
            if not key or not key.isascii() or not key.isprintable():
                raise UsageError(
                    f"judge.endpoint.api_key: the environment variable {named[1]} holds no key; export it and run again"
                )
            self._headers["Authorization"] = f"Bearer {key}"
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)
        self.failure: str | None = None
        """Why the last question without an answer got none."""

    def ask(self, questions: Sequence[str]) -> Iterator[tuple[int, Letter]]:
        """The answers in the order of the questions; ends early when the server stays silent."""
        failures = 0
        for place, question in enumerate(questions):
            try:
                said = self._answer(question)
            except _GivenUpError as error:
                self.failure = str(error)
                failures += 1
                if failures >= MOST_FAILURES:
                    return
                continue
            failures = 0
            yield place, read_letter(said)

    def _answer(self, question: str) -> str:
        body = {
            "model": self._spec.model,
            "messages": [{"role": "user", "content": question}],
            "temperature": 0,
            "max_tokens": ANSWER_TOKENS,
        }
        data = json.dumps(body).encode()
        for attempt in range(self._spec.retries + 1):
            request = urllib.request.Request(f"{self._spec.url}/chat/completions", data, self._headers, method="POST")
            wait = min(FIRST_WAIT * 2**attempt, LONGEST_WAIT)
            try:
                with self._opener.open(request, timeout=self._spec.timeout_seconds) as reply:
                    return _content(reply.read(MAX_REPLY))
            except urllib.error.HTTPError as error:
                why = f"the server answered with status {error.code}"
                wait = _asked_wait(error, wait)
                error.close()
                if error.code not in _BUSY:
                    break
            except (OSError, http.client.HTTPException) as error:
                reason = getattr(error, "reason", error)
                silent = isinstance(error, TimeoutError) or isinstance(reason, TimeoutError)
                why = f"no answer within {self._spec.timeout_seconds:g} s" if silent else "the server cannot be reached"
            if attempt < self._spec.retries:
                self._sleep(wait)
        raise _GivenUpError(why)


def _asked_wait(error: urllib.error.HTTPError, wait: float) -> float:
    """The seconds that the server asks to wait, within bounds."""
    try:
        return min(max(float(error.headers.get("Retry-After", "")), 0.0), LONGEST_WAIT)
    except ValueError:
        return wait


def _content(reply: bytes) -> str:
    """The text of a reply; empty, and so unparsable, when it is no chat completion."""
    try:
        content = json.loads(reply)["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError):
        return ""
    return content if isinstance(content, str) else ""
