"""How a spec names a secret: by the environment variable that holds it, `${env:NAME}`, and never by itself."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pydantic import WithJsonSchema

ENV = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)\}")
"""The whole text of a reference; its group is the variable's name."""
IN_SCHEMA = WithJsonSchema({"type": "string", "pattern": f"^{ENV.pattern}$"})
"""A reference as editors check it."""


def variables(references: Iterable[str]) -> list[str]:
    """The names of the variables that these texts refer to; texts that are no references are passed over."""
    return [found[1] for text in references if (found := ENV.fullmatch(text))]


def reference(text: str, what: str) -> str:
    """`text` if it is a reference. Raises ValueError, which never repeats what was found: it may be the secret."""
    if not ENV.fullmatch(text):
        raise ValueError(f"expected '${{env:NAME}}', the environment variable that holds the {what}, never the {what}")
    return text
