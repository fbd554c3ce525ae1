"""A fake OpenAI-compatible server in a thread, whose judge is a function of the two answers."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = str | int
"""What is said, or a status to fail with."""

SILENT = -1
"""No reply within a second."""


@dataclass
class FakeServer:
    """What a test tells the server, and what the server was sent."""

    judge: Callable[[str], Reply]
    url: str = ""
    questions: list[str] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)


@contextmanager
def serving(judge: Callable[[str], Reply], **headers: str) -> Iterator[FakeServer]:
    """A server on a free port of this machine; `headers` go with every reply."""
    state = FakeServer(judge)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            question = body["messages"][0]["content"]
            state.questions.append(question)
            state.bodies.append(body)
            state.headers.append(dict(self.headers))
            said = state.judge(question)
            if said == SILENT:
                state.stop.wait(1.0)
                return
            status = said if isinstance(said, int) else 200
            content = json.dumps({"choices": [{"message": {"content": said}}]}) if status == 200 else "secret inside"
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(content.encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield state
    finally:
        state.stop.set()
        server.shutdown()
        server.server_close()
        thread.join()


def shown(question: str) -> tuple[str, str, str]:
    """(target, first, second) as the default question shows them."""
    found = re.search(r"for reference:\n(.*)\n\nAnswer A:\n(.*)\n\nAnswer B:\n(.*)\n\nWhich", question, re.DOTALL)
    assert found is not None, question
    return found[1], found[2], found[3]


def perfect(question: str) -> str:
    """The letter of the answer that equals the target; B where neither or both do, so a place is preferred there."""
    target, first, _ = shown(question)
    return "A" if first == target else "B"
