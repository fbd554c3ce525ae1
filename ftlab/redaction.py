"""Keeping secrets out of what is stored: what looks like one, what stands under a name of one, and what is one.

A secret that is known is one in this process's environment: the variables whose names say so (HF_TOKEN, JUDGE_KEY),
and those that a spec refers to by `${env:NAME}`, which `remember` is told. Their values are replaced wherever they turn
up in a record or a log, however they got there: an exception's text, say.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ftlab.files import write_atomic

REDACTED = "[redacted]"
SHORTEST = 8
"""A shorter value is no secret worth the name, and would hide ordinary words."""

_KEY = re.compile(r"token(?!i[sz]|s_|s?_(?:per|count))|secret|passw|api_?key", re.IGNORECASE)
_VARIABLE = re.compile(r"token(?!i[sz])|secret|passw|credential|webhook|(?:^|_)key(?:$|_)|api_?key", re.IGNORECASE)
_FORM = re.compile(r"\b(?:hf_[A-Za-z0-9]{20,}|sk-[A-Za-z0-9_-]{20,}|AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{30,})")
_NAMES = "FTLAB_SECRETS"
"""The variable that carries the names of the others to the processes started from here."""


def remember(variables: Iterable[str]) -> None:
    """Take the values of these environment variables for secrets, whatever the variables are called: in this process
    and in those it starts."""
    os.environ[_NAMES] = " ".join(sorted({*os.environ.get(_NAMES, "").split(), *variables}))


def known_secrets() -> tuple[str, ...]:
    """The secrets in this process's environment, the longest first, so that none hides a part of another."""
    remembered = os.environ.get(_NAMES, "").split()
    found = {
        value.strip()
        for name, value in os.environ.items()
        if name != _NAMES and (name in remembered or _VARIABLE.search(name))
    }
    return tuple(sorted((value for value in found if len(value) >= SHORTEST), key=lambda value: (-len(value), value)))


def without_forms(text: str) -> str:
    """`text` in which whatever has the form of a well-known access token is replaced."""
    return _FORM.sub(REDACTED, text)


def in_json(line: bytes, secrets: Iterable[str]) -> bytes:
    """A line of JSON in which these secrets are replaced wherever a text holds one. Numbers stay: digits of a loss that
    happen to be those of a password tell nobody anything, and a line without them would be JSON no more."""
    known = tuple(secrets)
    if not any(json.dumps(secret)[1:-1].encode() in line for secret in known):
        return line
    return json.dumps(_without(json.loads(line), known), separators=(",", ":")).encode()


def _without(value: Any, secrets: Iterable[str]) -> Any:
    if isinstance(value, dict):
        return {_without(key, secrets): _without(item, secrets) for key, item in value.items()}
    if isinstance(value, list):
        return [_without(item, secrets) for item in value]
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, REDACTED)
    return value


def clean_file(path: Path) -> None:
    """Replace the known secrets in a text file, as libraries may have printed them. Nothing where there is no file.

    Raises StorageError when it holds one and cannot be written.
    """
    secrets = known_secrets()
    if not secrets or path.is_symlink() or not path.is_file():
        return
    before = path.read_bytes()
    after = before
    for secret in secrets:
        after = after.replace(secret.encode("utf-8", "surrogateescape"), REDACTED.encode())
    if after != before:
        write_atomic(path, after)


def redact(value: Any) -> Any:
    """A copy of `value` in which the texts under keys that name a secret (token, secret, passw, api_key) are replaced.

    Numbers stay, since counts of tokens are no secrets; so do tokenizers.
    """
    if isinstance(value, dict):
        return {key: _hidden(item) if _KEY.search(key) else redact(item) for key, item in value.items()}
    if isinstance(value, list):
        return [redact(item) for item in value]
    return value


def _hidden(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _hidden(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_hidden(item) for item in value]
    return REDACTED if isinstance(value, str) else value
