"""The endpoint against a server on the loopback address that behaves well and badly."""

import base64
import contextlib
import io
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from data.stub_server import Reply, Stub, chat
from PIL import Image

from medpo_cli.errors import ConfigError, RecordError, UnavailableError
from medpo_cli.io import ending
from medpo_cli.models.endpoint import Endpoint, is_private
from medpo_cli.schema.records import Decoding

SECRET = "Is there a secret nodule?"


def ask(stub: Stub, *replies: Reply | Callable[[], Reply], timeout: float = 5.0, retries: int = 2) -> Any:
    stub.replies = list(replies)
    endpoint = Endpoint(stub.url, "m", timeout=timeout, retries=retries, backoff=0.01)
    return endpoint.ask(SECRET, [np.zeros((4, 6, 3), np.uint8)], Decoding(max_tokens=7), 2**40 + 5)


def test_good_answer(stub: Stub) -> None:
    listed = {"content": [{"logprob": -0.5}, {"logprob": -0.25}]}
    answer = ask(stub, (200, chat("No nodule.", logprobs=listed), {}))
    assert (answer.text, answer.logprob, answer.tokens, answer.finish) == ("No nodule.", -0.75, 3, "stop")


def test_request_carries_picture_prompt_and_decoding(stub: Stub) -> None:
    ask(stub, (200, chat("No."), {}))
    (body,), (path,) = stub.bodies, stub.paths
    assert path == "/v1/chat/completions"
    picture, text = body["messages"][0]["content"]
    head, data = picture["image_url"]["url"].split(",")
    assert head == "data:image/png;base64"
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (6, 4)
    assert text == {"type": "text", "text": SECRET}
    assert (body["model"], body["temperature"], body["top_p"], body["max_tokens"]) == ("m", 0.0, 1.0, 7)
    assert body["seed"] == 5


def test_answer_is_composed_and_may_lack_a_logprob(stub: Stub) -> None:
    """e + combining diaeresis becomes one code point (NFC)."""
    answer = ask(stub, (200, chat("e\u0308", finish_reason="length"), {}))
    assert (answer.text, answer.logprob, answer.finish) == ("\u00eb", None, "length")


@pytest.mark.parametrize("text", ["", None])
def test_empty_answer(stub: Stub, text: str | None) -> None:
    with pytest.raises(RecordError) as caught:
        ask(stub, (200, chat(text), {}))
    assert caught.value.reason == ("endpoint-empty")


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"choices": []}', b'{"choices": [{"message": 3}]}', b"\xff"])
def test_malformed_answer(stub: Stub, body: bytes) -> None:
    with pytest.raises(RecordError) as caught:
        ask(stub, (200, body, {}))
    assert caught.value.reason == "endpoint-malformed"


def test_server_error_then_good(stub: Stub) -> None:
    assert ask(stub, (500, b"", {}), (429, b"", {}), (200, chat("Yes."), {})).text == "Yes."
    assert len(stub.paths) == 3


def test_retries_are_bounded(stub: Stub) -> None:
    with pytest.raises(UnavailableError, match=r"status 500 \(3 attempts\)"):
        ask(stub, (500, b"", {}))
    assert len(stub.paths) == 3


def test_slow_server_times_out(stub: Stub) -> None:
    def late() -> Reply:
        time.sleep(0.4)
        return 200, chat("late"), {}

    begin = time.monotonic()
    with pytest.raises(UnavailableError, match="does not answer in time"):
        ask(stub, late, timeout=0.1, retries=1)
    assert time.monotonic() - begin < 2


@pytest.fixture
def trickle() -> Iterator[Callable[[bytes], str]]:
    """A server that sends the given bytes, then one more every 20 ms for as long as it is listened to."""
    server = socket.create_server(("127.0.0.1", 0))
    begun: list[bytes] = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                with connection, contextlib.suppress(OSError):
                    connection.recv(65536)
                    connection.sendall(begun[0])
                    while True:
                        connection.sendall(b" ")
                        time.sleep(0.02)

    threading.Thread(target=serve, daemon=True).start()

    def url(first: bytes) -> str:
        begun.append(first)
        return f"http://127.0.0.1:{server.getsockname()[1]}/v1"

    yield url
    server.close()


@pytest.mark.timeout(30)  # it would go on for ever
@pytest.mark.parametrize(
    "first",
    [b"", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n{",
     b"HTTP/1.0 200 OK\r\n\r\n{"],
    ids=["before the status", "in a header", "in the body", "until closed"],
)  # fmt: skip
def test_a_server_that_trickles_is_given_up(trickle: Callable[[bytes], str], first: bytes) -> None:
    endpoint = Endpoint(trickle(first), "m", timeout=0.3, retries=1, backoff=0.01)
    with pytest.raises(UnavailableError, match=r"does not answer in time \(2 attempts\)"):
        endpoint.ask(SECRET, [], Decoding(), 0)


@pytest.mark.timeout(30)
def test_nobody_waits_for_a_server_once_it_is_given_up(trickle: Callable[[bytes], str]) -> None:
    endpoint = Endpoint(trickle(b""), "m", timeout=300)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(endpoint.ask, SECRET, [], Decoding(), 0)
        time.sleep(0.2)  # or it is given up before it has begun, which must be the same
        ending.tell()
        with pytest.raises(UnavailableError, match="not waited for any more"):
            asked.result()


def test_redirect_is_refused_and_not_followed(stub: Stub) -> None:
    with pytest.raises(UnavailableError, match="redirects elsewhere"):
        ask(stub, (307, b"", {"Location": "http://198.51.100.1/"}), (200, chat("Yes."), {}))
    assert len(stub.paths) == 1


@pytest.mark.parametrize(("status", "error"), [(400, RecordError), (413, RecordError), (404, UnavailableError)])
def test_refusals(stub: Stub, status: int, error: type[Exception]) -> None:
    """The server's own words may quote the question, so they go nowhere."""
    with pytest.raises(error) as caught:
        ask(stub, (status, SECRET.encode(), {}))
    assert str(status) in str(caught.value)
    assert "secret" not in str(caught.value)
    assert len(stub.paths) == 1


def test_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(UnavailableError, match=r"does not answer \(2 attempts\): check that the server runs"):
        Endpoint(url, "m", retries=1, backoff=0.01).ask("?", [], Decoding(), 0)


def test_reply_that_breaks_off(stub: Stub) -> None:
    with pytest.raises(UnavailableError, match="does not answer"):
        ask(stub, (200, b"{", {"Content-Length": "100"}), timeout=0.2, retries=0)


def test_first_listed_model_is_used(stub: Stub) -> None:
    stub.replies = [(200, b'{"data": [{"id": "alpha"}, {"id": "beta"}]}', {})]
    assert Endpoint(stub.url).model == "alpha"
    assert stub.paths == ["/v1/models"]
    stub.replies = [(200, b'{"data": []}', {})]
    with pytest.raises(UnavailableError, match="name one with --endpoint-model"):
        Endpoint(stub.url)


def test_each_answer_has_its_own_seed(stub: Stub) -> None:
    stub.replies = [(200, chat("Yes."), {})]
    answers = Endpoint(stub.url, "m").answers("?", [], Decoding(temperature=1.0, n=3), 1)
    assert len(answers) == 3
    assert len({body["seed"] for body in stub.bodies}) == 3


@pytest.mark.parametrize("url", ["", "127.0.0.1:80", "ftp://127.0.0.1", "http://", "http://u:p@127.0.0.1", "http://[x"])
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(ConfigError, match="base URL"):
        Endpoint(url, "m")


@pytest.mark.parametrize(
    ("address", "private"),
    [
        ("127.0.0.1", True),
        ("10.1.2.3", True),
        ("192.168.0.1", True),
        ("172.31.0.1", True),
        ("::1", True),
        ("fd00::1", True),
        ("::ffff:10.0.0.1", True),
        ("8.8.8.8", False),
        ("172.32.0.1", False),
        ("169.254.169.254", False),
        ("fe80::1%eth0", False),
        ("::ffff:8.8.8.8", False),
        ("2001:4860:4860::8888", False),
    ],
)
def test_private_addresses(address: str, private: bool) -> None:
    assert is_private(address) is private


def resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    entries = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80)) for address in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_a, **_k: entries)


def test_one_public_address_of_a_name_is_enough_to_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_to(monkeypatch, "10.0.0.1", "93.184.216.34")
    with pytest.raises(ConfigError, match="--allow-public-endpoint"):
        Endpoint("http://model.example/v1", "m")
    Endpoint("http://model.example/v1", "m", allow_public=True)


def test_a_name_that_turns_public_is_caught_at_the_connection(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = Endpoint(stub.url, "m")
    monkeypatch.setattr("medpo_cli.models.endpoint.is_private", lambda _address: False)
    with pytest.raises(UnavailableError, match="public address"):
        endpoint.ask("?", [], Decoding(), 0)
    assert stub.bodies == []


def test_a_name_that_does_not_resolve(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_a: object, **_k: object) -> None:
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(UnavailableError, match="cannot be resolved"):
        Endpoint("http://nowhere.invalid/v1", "m")


def test_proxies_are_ignored(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert ask(stub, (200, chat("Yes."), {})).text == "Yes."
