"""Servers that attack: every reply becomes an answer that a record can hold, one reject, or the end of the run."""

import contextlib
import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from data.stub_server import Stub

from medpo_cli.errors import RecordError, UnavailableError
from medpo_cli.io.stream import decode, encode
from medpo_cli.models import endpoint
from medpo_cli.models.endpoint import Endpoint
from medpo_cli.schema.records import Decoding, ImageRef, Policy, Response, Sample

pytestmark = pytest.mark.timeout(60)
SECRET = "ZQXSERVER"
DEEP = b"[" * 200_000


def said(**choice: Any) -> bytes:
    """A completion whose first choice has other fields too."""
    return json.dumps({"choices": [{"message": {"content": f"{SECRET} Yes."}} | choice]}).encode()


def scored(number: str) -> bytes:
    """A completion with that log-probability, which need not be JSON."""
    return said(logprobs={"content": [{"logprob": 12345}]}).replace(b"12345", number.encode())


def used(tokens: Any) -> bytes:
    return said()[:-1] + b', "usage": {"completion_tokens": ' + json.dumps(tokens).encode() + b"}}"


MALFORMED = {
    "deep": b'{"choices": ' + DEEP, "deep in a field nobody reads": said()[:-1] + b', "x": ' + DEEP,
    "a list": b"[1]", "a number": b"5", "null": b"null", "a word": b'"x"', "a page": b"<html>ZQXSERVER</html>",
    "an error with status 200": b'{"error": {"message": "ZQXSERVER"}}', "no choice": b'{"choices": []}',
    "choices by name": b'{"choices": {"0": {}}}', "a choice of text": b'{"choices": ["ZQXSERVER"]}',
    "a lone surrogate": b'{"choices": [{"message": {"content": "\\ud800 ZQXSERVER"}}]}',
    "not UTF-8": b'{"choices": [{"message": {"content": "ZQXSERVER \xff"}}]}',
    "UTF-16": said().decode().encode("utf-16"), "a mark of byte order": b"\xef\xbb\xbf" + said(),
    "cut": said()[:-3], "two objects": said() + said(), "parts of content": said(message={"content": [{"text": "x"}]}),
    "NaN": scored("NaN"), "infinity": scored("-Infinity"), "beyond doubles": scored("-1e999"),
    "four hundred digits": scored("-" + "9" * 400), "ten thousand digits": scored("-" + "9" * 10_000),
    "a log-probability in words": scored('"x"'), "true as log-probability": scored("true"),
    "log-probabilities as text": said(logprobs={"content": SECRET}), "as numbers": said(logprobs={"content": [1]}),
    "fewer than no tokens": used(-1), "10^30 tokens": used(10**30), "half a token": used(0.5),
    "true tokens": used(True),
    "usage as a list": said()[:-1] + b', "usage": [1]}', "an end as a list": said(finish_reason=["stop"]),
}  # fmt: skip


@pytest.mark.parametrize("reply", MALFORMED)
def test_a_hostile_reply_is_one_reject(stub: Stub, reply: str) -> None:
    stub.replies = [(200, MALFORMED[reply], {})]
    with pytest.raises(RecordError) as caught:
        Endpoint(stub.url, "m", retries=0).ask("?", [], Decoding(), 0)
    assert caught.value.reason == "endpoint-malformed"
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


STRANGE = {
    "escape codes": "\x1b[2J\x07", "zero bytes": "a\0b", "line ends": "a\nb\r\n\u2028c", "other directions": "a\u202eb",
    "fifteen million letters": "x" * 15_000_000,
}  # fmt: skip


@pytest.mark.parametrize("text", STRANGE)
def test_a_strange_answer_is_data_that_a_record_can_hold(stub: Stub, text: str) -> None:
    stub.replies = [(200, json.dumps({"choices": [{"message": {"content": STRANGE[text]}}]}).encode(), {})]
    answer = Endpoint(stub.url, "m").ask("?", [], Decoding(), 0)
    line = encode(held(answer))
    assert b"\n" not in line
    assert b"\x1b" not in line
    assert decode(line) == held(answer)


def held(answer: Response) -> Sample:
    policy = Policy(model="m", digest="d")
    return Sample(id="a", image=ImageRef(path="x"), prompt="?", task="report", policy=policy, responses=[answer])


@pytest.mark.parametrize(
    "reply",
    [
        DEEP, b'{"data": [{"id": "\\ud800"}]}', b'{"data": [{"id": 5}]}', b'{"data": [{"id": ""}]}', b'{"data": {}}',
        b'{"data": [{"id": "' + b"x" * 10**6 + b'"}]}', b"ZQXSERVER", b'{"error": "ZQXSERVER"}', b"\xff",
    ],
)  # fmt: skip
def test_a_hostile_list_of_models_ends_the_run(stub: Stub, reply: bytes) -> None:
    stub.replies = [(200, reply, {})]
    with pytest.raises(UnavailableError, match="lists no model: name one with --endpoint-model") as caught:
        Endpoint(stub.url)
    assert caught.value.__suppress_context__


# --- below HTTP ----------------------------------------------------------------------------------


@contextlib.contextmanager
def raw(answer: Callable[[socketserver.StreamRequestHandler], None]) -> Iterator[str]:
    """A server that reads a request's head and then does what it is told."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while self.rfile.readline().strip():
                pass
            with contextlib.suppress(OSError):  # the client has had enough
                answer(self)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
        server.shutdown()


def ask(answer: Callable[[socketserver.StreamRequestHandler], None]) -> None:
    with raw(answer) as url:
        Endpoint(url, "m", retries=0, timeout=5).ask("?", [], Decoding(), 0)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_without_end_is_cut_at_the_limit(chunked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "MAX_REPLY", 2**20)
    sent = 0

    def endless(handler: socketserver.StreamRequestHandler) -> None:
        nonlocal sent
        head = b"HTTP/1.1 200 OK\r\n" + (b"Transfer-Encoding: chunked\r\n" if chunked else b"") + b"\r\n"
        handler.wfile.write(head)
        part = b"x" * 2**16
        while sent < 2**28:
            handler.wfile.write(b"10000\r\n" + part + b"\r\n" if chunked else part)
            sent += len(part)

    with pytest.raises(RecordError) as caught:
        ask(endless)
    assert caught.value.reason == "endpoint-malformed"
    assert sent < 2**26, "the client read far more than it keeps"


@pytest.mark.parametrize(
    "head",
    [
        b"ZQXSERVER\r\n", b"HTTP/9.9 what\r\n\r\n", b"HTTP/1.1 200 " + b"x" * 10**6 + b"\r\n\r\n", b"", b"\0" * 10**5,
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 10**4 + b"\r\n", b"HTTP/1.1 200 OK\r\nA: " + b"x" * 10**6 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZQX\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 10**5 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}",
    ],
)  # fmt: skip
def test_what_is_no_http_is_no_answer(head: bytes) -> None:
    with pytest.raises(UnavailableError, match="does not answer") as caught:
        ask(lambda handler: handler.wfile.write(head) and None)
    assert "ZQX" not in str(caught.value)


@pytest.mark.parametrize("length", [b"-1", b"9" * 30, b"x"])
def test_a_length_that_lies_is_not_believed(length: bytes) -> None:
    """No memory is taken on the word of a header."""
    body = b"HTTP/1.1 200 OK\r\nContent-Length: " + length + b"\r\n\r\n{}"
    with pytest.raises((RecordError, UnavailableError)):
        ask(lambda handler: handler.wfile.write(body) and None)


@pytest.mark.parametrize("wait", ["9" * 10_000, "-5", "1e9", "x", "\u0663"])
def test_a_wait_that_the_server_asks_for_is_bounded(wait: str) -> None:
    assert 0 <= endpoint._seconds(wait) <= endpoint.LONGEST_WAIT
