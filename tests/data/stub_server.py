"""A server on the loopback address that answers as it is told."""

import contextlib
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, bytes, dict[str, str]]


def chat(text: str | None, **more: Any) -> bytes:
    choice = {"message": {"content": text}, "finish_reason": "stop"} | more
    return json.dumps({"choices": [choice], "usage": {"completion_tokens": 3}}).encode()


class Stub:
    """Answers requests in turn from ``replies`` (the last one again and again); keeps what it was sent."""

    def __init__(self) -> None:
        self.replies: list[Reply | Callable[[], Reply]] = []
        self.bodies: list[Any] = []
        self.paths: list[str] = []
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def _serve(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                stub.paths.append(self.path)
                stub.bodies.append(json.loads(self.rfile.read(length)) if length else None)
                reply = stub.replies.pop(0) if len(stub.replies) > 1 else stub.replies[0]
                status, body, headers = reply() if callable(reply) else reply
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                with contextlib.suppress(ConnectionError):  # a client that gave up waiting
                    self.wfile.write(body)

            do_GET = do_POST = _serve  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/v1"
