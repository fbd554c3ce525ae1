"""A session of the app without a browser: asks a running server for pages as a browser's tab does, over its websocket.

What comes back is not drawn, so many sessions cost little beside the server's own work. The seconds of a request run
from the question to the message that the script has ended, the way over the socket included.
"""

from __future__ import annotations

import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

TROUBLE = ("cannot be read", "cannot be shown", "error of ftlab", "A moment, please")
"""What a page says in place of its content."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one run of a page's script gave."""

    seconds: float
    errors: tuple[str, ...]
    """Exceptions and error boxes on the page, and sentences that stand in place of its content."""
    texts: tuple[str, ...]
    """The HTML and Markdown of the page, in the order it came."""


class AppSession:
    """One session. Raises OSError or `websockets.exceptions.WebSocketException` when the server is not there."""

    def __init__(self, url: str, page: str = "", query: str = "", timeout: float = 60.0) -> None:
        """`url` is `http://host:port`; `page` is the page's path, empty for the first one."""
        self._page, self._query, self._timeout = page, query, timeout
        self._hashes: dict[str, str] = {}
        address = f"{url.replace('http', 'ws', 1)}/_stcore/stream"
        self._stack = ExitStack()
        self._socket = self._stack.enter_context(
            connect(
                address,
                subprotocols=[Subprotocol("streamlit")],
                origin=Origin(url),
                max_size=None,
                open_timeout=timeout,
                close_timeout=1,
                ping_interval=None,
            )
        )

    def run(self) -> Answer:
        """Have the server run the page's script once."""
        from streamlit.proto.BackMsg_pb2 import BackMsg

        question = BackMsg()
        question.rerun_script.query_string = self._query
        if self._page in self._hashes:
            question.rerun_script.page_script_hash = self._hashes[self._page]
        else:
            question.rerun_script.page_name = self._page
        started = time.perf_counter()
        self._socket.send(question.SerializeToString())
        errors: list[str] = []
        texts: list[str] = []
        while True:
            message = self._receive()
            kind = message.WhichOneof("type")
            if kind == "script_finished":
                break
            if kind == "navigation":
                self._hashes = {page.url_pathname: page.page_script_hash for page in message.navigation.app_pages}
            elif kind == "delta" and message.delta.WhichOneof("type") == "new_element":
                _look(message.delta.new_element, errors, texts)
        errors += [text for text in texts if any(words in text for words in TROUBLE)]
        return Answer(time.perf_counter() - started, tuple(errors), tuple(texts))

    def close(self) -> None:
        """End the session, whether or not the server is still there."""
        with suppress(OSError, WebSocketException):
            self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _receive(self) -> Any:
        from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

        message = ForwardMsg()
        data = self._socket.recv(self._timeout, decode=False)
        message.ParseFromString(bytes(data))
        return message


def _look(element: Any, errors: list[str], texts: list[str]) -> None:
    match element.WhichOneof("type"):
        case "exception":
            errors.append(f"{element.exception.type}: {element.exception.message}")
        case "alert":
            errors.append(element.alert.body)
        case "html":
            texts.append(element.html.body)
        case "markdown":
            texts.append(element.markdown.body)
