"""Judges for the stub server: each reads what it is asked, as a model would, and replies by rule."""

import contextlib
import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

from data.stub_server import Stub, chat

TRUTH = "There is a small left pleural effusion. No pneumothorax."
SIDE = "There is a small right pleural effusion. No pneumothorax."
DENIED = "No pleural effusion. No pneumothorax."

Say = Callable[[dict[str, Any], str], str | bytes]


def reply(verdict: str, *errors: str) -> str:
    return json.dumps({"verdict": verdict, "errors": list(errors)})


def perfect(asked: dict[str, Any], _instructions: str) -> str:
    """Knows the three answers; of two it prefers the one that is the reference."""
    if "first" in asked:
        return json.dumps({"better": "second" if asked["second"] == asked["reference"] else "first"})
    if asked["answer"] == asked["reference"]:
        return reply("right")
    return reply("partly", "side") if asked["answer"] == SIDE else reply("wrong", "omitted")


def always_first(_asked: dict[str, Any], _instructions: str) -> str:
    return json.dumps({"better": "first"})


def garbage(_asked: dict[str, Any], _instructions: str) -> str:
    return "SECRET effusion on the left, I would say {"


class JudgeStub(Stub):
    """A server whose reply depends on the question, not on the order of arrival.

    Args:
        say: the reply's text (str), or the whole body (bytes), from the data and the instructions.
        model: the name that its replies bear.
    """

    def __init__(self, say: Say, model: str = "judge-7b") -> None:
        super().__init__()
        self.say, self.model = say, model
        self.refuse_after: int | None = None
        self.refusal = 503
        handler = self.server.RequestHandlerClass
        assert issubclass(handler, BaseHTTPRequestHandler)
        handler.do_POST = lambda one: self._serve(one)  # type: ignore[attr-defined]

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        asked = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        self.bodies.append(asked)
        if self.refuse_after is not None and len(self.bodies) > self.refuse_after:
            handler.send_response(self.refusal)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        system, user = (message["content"] for message in asked["messages"])
        said = self.say(json.loads(user), system)
        body = said if isinstance(said, bytes) else json.dumps(json.loads(chat(said)) | {"model": self.model}).encode()
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        with contextlib.suppress(ConnectionError):  # a client that gave up waiting
            handler.wfile.write(body)
