"""What a spec may say about a judge: a model that compares each arm's answer with the best prompt's, row by row."""

from __future__ import annotations

import re
from functools import partial
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StringConstraints, field_validator, model_validator

from ftlab.spec.block import Block
from ftlab.spec.secrets import IN_SCHEMA, reference

JUDGE = "judge"
"""What the judge's score is called among the metrics."""

MIN_KAPPA = 0.6
"""Where "substantial" agreement begins in Landis and Koch (1977), The Measurement of Observer Agreement for Categorical
Data, section 4."""

DEFAULT_QUESTION = """\
You compare two answers to the same request. The better answer is the one that is more correct and more useful.

Request:
{{ text }}

A right answer, for reference:
{{ target }}

Answer A:
{{ first }}

Answer B:
{{ second }}

Which answer is better? Reply with one letter, A or B."""


class EndpointSpec(Block):
    """A server that speaks OpenAI's chat completions. No other host is ever asked; redirects are not followed."""

    url: str
    """The base address, e.g. `http://localhost:8000/v1`; `/chat/completions` is added."""
    model: Annotated[str, StringConstraints(min_length=1)]
    """The model's name at the server."""
    api_key: Annotated[str, AfterValidator(partial(reference, what="key")), IN_SCHEMA] | None = None
    """`${env:NAME}`: the environment variable that holds the key. The key itself is never written anywhere."""
    timeout_seconds: Annotated[float, Field(gt=0, le=3600)] = 60.0
    """How long one answer may take."""
    retries: Annotated[int, Field(ge=0, le=10)] = 3
    """How often a question is repeated when the server is busy, fails or is silent, waiting longer each time."""

    @field_validator("url")
    @classmethod
    def _web_address(cls, value: str) -> str:
        # The address itself stays out of the message: it may hold a password.
        try:
            parts = urlsplit(value)
            host = parts.hostname
            _ = parts.port
        except ValueError:
            raise ValueError("expected an address such as http://localhost:8000/v1") from None
        if parts.scheme not in ("http", "https") or not host:
            raise ValueError("expected an address such as http://localhost:8000/v1")
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise ValueError("expected an address without user, password, query or fragment; keys go to 'api_key'")
        return value.rstrip("/")


class JudgeSpec(Block):
    """A model that compares each arm's answers with the best prompt's: 1 better, 0.5 a tie, 0 worse."""

    model: str | None = None
    """`builtin:<name>`, a folder or a hub id: the judge runs here and is read by how likely it finds A and B."""
    endpoint: EndpointSpec | None = None
    """A server to ask instead of `model`."""
    question: Annotated[str, StringConstraints(min_length=1)] = DEFAULT_QUESTION
    """A template for what the judge is asked. It may use `text` (the request), `target` (the right answer), `row` (the
    columns), and must use `first` and `second`, the answers to compare, to be called A and B."""
    limit: Annotated[int, Field(ge=1)] = 100
    """How many rows of a split are judged, the same for every arm; rows that people have rated come first."""
    min_kappa: Annotated[float, Field(ge=-1, le=1)] = MIN_KAPPA
    """The smallest agreement with people (Cohen's kappa) at which the judge's scores count in a decision. 0.6 is where
    Landis and Koch (1977) begin to call agreement substantial."""

    @model_validator(mode="after")
    def _one_judge(self) -> JudgeSpec:
        if (self.model is None) == (self.endpoint is None):
            raise ValueError("expected exactly one of 'model' and 'endpoint'")
        return self

    @property
    def name(self) -> str:
        """Who judges, for people."""
        return self.model or (f"{self.endpoint.model} at {self.endpoint.url}" if self.endpoint else "")


_SHOWN = re.compile(r"\{\{[^{}]*?\b(first|second)\b")


def wrong_question(question: str) -> str | None:
    """What is wrong with the template of a judge's question, or None: it must show both answers."""
    missing = [name for name in ("first", "second") if name not in _SHOWN.findall(question)]
    if not missing:
        return None
    names = " and ".join(f"{{{{ {name} }}}}" for name in missing)
    return f"shows the judge only part of what it is to compare; add {names}"
