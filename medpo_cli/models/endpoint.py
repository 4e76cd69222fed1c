"""Answers from an OpenAI-compatible server (vLLM, ``transformers serve``) on this machine or network.

Patient images leave the process here and nowhere else. So: no proxy, no redirect, and the address that was
really connected to must be loopback or private unless public ones were permitted.
"""

import base64
import contextlib
import http.client
import io
import ipaddress
import json
import math
import socket
import time
import unicodedata
from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple
from urllib.parse import urlsplit

import msgspec
import numpy as np
from msgspec import Meta
from PIL import Image

from medpo_cli.errors import ConfigError, RecordError, UnavailableError
from medpo_cli.io.ending import tell_at_end
from medpo_cli.models.deadline import response_until
from medpo_cli.models.seeds import derive_seed
from medpo_cli.schema.records import Decoding, Response

MAX_REPLY = 16 * 2**20
LONGEST_WAIT = 60.0
_NAP = 0.1
"""Seconds between two looks at whether a request was given up."""
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
MISCONFIGURED = frozenset({401, 403, 404, 405})


class _Token(msgspec.Struct):
    logprob: float


class _Logprobs(msgspec.Struct):
    content: list[_Token] | None = None


class _Message(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Message
    logprobs: _Logprobs | None = None
    finish_reason: str | None = None


class _Usage(msgspec.Struct):
    completion_tokens: Annotated[int, Meta(ge=0, lt=2**31)] | None = None


class _Completion(msgspec.Struct):
    """What is read of a reply; servers add much to it."""

    choices: Annotated[list[_Choice], Meta(min_length=1)]
    usage: _Usage | None = None


class _Model(msgspec.Struct):
    id: Annotated[str, Meta(min_length=1, max_length=1024)]


class _Models(msgspec.Struct):
    data: Annotated[list[_Model], Meta(min_length=1)]


class _Named(msgspec.Struct):
    model: Any = None


class Told(NamedTuple):
    """What a server said, and which model it says has said it (empty if it names none)."""

    text: str
    model: str


class Endpoint:
    """A server that speaks the chat-completions protocol; safe to use from several threads.

    Args:
        url: base URL such as ``http://127.0.0.1:8000/v1``.
        model: model name to send; empty: the first one that the server lists.
        allow_public: permit an address outside loopback and private networks.
        timeout: seconds until a reply must be there whole, however little of it comes at a time.
        retries: further attempts after a passing failure (no connection, time out, 429, 5xx).
        backoff: seconds before the first of them; doubles each time.

    Raises:
        ConfigError: the URL is none, or its host has a public address.
        UnavailableError: the host name cannot be resolved.
    """

    def __init__(
        self,
        url: str,
        model: str = "",
        *,
        allow_public: bool = False,
        timeout: float = 120.0,
        retries: int = 3,
        backoff: float = 1.0,
    ) -> None:
        self.secure, self.host, self.port, self.path = _parse(url)
        self.allow_public, self.timeout, self.retries, self.backoff = allow_public, timeout, retries, backoff
        self.schemas = True
        self._sockets: set[socket.socket | None] = set()
        self._given_up = False
        tell_at_end(self)
        self._check_host()
        self.model = model or self._first_model()

    def ask(self, prompt: str, images: Sequence[np.ndarray], decoding: Decoding, seed: int) -> Response:
        """One answer.

        Args:
            prompt: the question.
            images: uint8 [H, W, 3] each, sent as PNG.
            decoding: temperature, top_p, longest answer.
            seed: sent to the server (its lowest 31 bits), which may or may not keep to it.

        Returns:
            The answer; ``logprob`` (over the tokens that the server lists) where the server offers it.

        Raises:
            RecordError: ``endpoint-refused``, ``endpoint-malformed`` or ``endpoint-empty``.
            UnavailableError: no usable server.
        """
        content: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": _png(image)}} for image in images]
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": [*content, {"type": "text", "text": prompt}]}],
            "temperature": decoding.temperature,
            "top_p": decoding.top_p,
            "max_tokens": decoding.max_tokens,
            "seed": seed % 2**31,
            "logprobs": True,
        }
        return _response(self._call("POST", "/chat/completions", json.dumps(body).encode()))

    def reply(self, instructions: str, data: str, schema: dict[str, Any], max_tokens: int) -> str:
        """The text of ``tell``."""
        return self.tell(instructions, data, schema, max_tokens).text

    def tell(
        self, instructions: str, data: str, schema: dict[str, Any], max_tokens: int, seed: int | None = None
    ) -> "Told":
        """One reply without images, at temperature 0, held to a JSON schema where the server can.

        Args:
            instructions: system message.
            data: user message.
            schema: of the reply; a server that refuses schemas is asked again without.
            max_tokens: longest reply; one that reaches it is cut and refused.
            seed: sent to the server (its lowest 31 bits) where one is given.

        Raises:
            RecordError: ``endpoint-refused``, ``endpoint-malformed``, ``endpoint-empty`` or ``endpoint-cut``.
            UnavailableError: no usable server.
        """
        messages = [{"role": "system", "content": instructions}, {"role": "user", "content": data}]
        body: dict[str, Any] = {"model": self.model, "messages": messages, "temperature": 0, "max_tokens": max_tokens}
        if seed is not None:
            body["seed"] = seed % 2**31
        form = {"type": "json_schema", "json_schema": {"name": "reply", "strict": True, "schema": schema}}
        try:
            held = body if not self.schemas else body | {"response_format": form}
            reply = self._call("POST", "/chat/completions", json.dumps(held).encode())
        except RecordError:
            if not self.schemas:
                raise
            reply = self._call("POST", "/chat/completions", json.dumps(body).encode())
            self.schemas = False
        response = _response(reply)
        if response.finish == "length":
            raise RecordError("endpoint-cut", "the endpoint's reply was cut at the token limit", "$")
        return Told(response.text, _reported(reply))

    def answers(self, prompt: str, images: Sequence[np.ndarray], decoding: Decoding, seed: int) -> list[Response]:
        """``decoding.n`` answers, each with its own seed, as ``ask`` gives them."""
        return [self.ask(prompt, images, decoding, derive_seed(seed, index)) for index in range(decoding.n)]

    def _first_model(self) -> str:
        try:
            return msgspec.json.decode(self._call("GET", "/models"), type=_Models).data[0].id
        except (msgspec.DecodeError, UnicodeError, RecursionError, RecordError):
            # Not chained: the error may quote the reply.
            raise UnavailableError("the endpoint lists no model: name one with --endpoint-model") from None

    def _check_host(self) -> None:
        """Every address of the host must be permitted, before anything is sent."""
        try:
            found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise UnavailableError("the endpoint's host name cannot be resolved: check --endpoint") from error
        if not self.allow_public and not all(is_private(str(entry[4][0])) for entry in found):
            raise ConfigError(
                "the endpoint has a public address: images would leave your network "
                "(--allow-public-endpoint permits it)"
            )

    def _call(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """The body of a 200 reply; passing failures are tried again."""
        problem, wait = "", 0.0
        for attempt in range(self.retries + 1):
            self._pause(max(wait, self.backoff * 2 ** (attempt - 1)) if attempt else 0.0)
            try:
                status, reply, wait = self._once(method, path, body)
            except (OSError, http.client.HTTPException) as error:
                problem = "does not answer in time" if isinstance(error, TimeoutError) else "does not answer"
                continue
            if status == 200:
                return reply
            if status not in PASSING:
                raise _refusal(status)
            problem = f"answers with status {status}"
        raise UnavailableError(f"the endpoint {problem} ({self.retries + 1} attempts): check that the server runs")

    def give_up(self) -> None:
        """End the requests under way, in whichever thread, and make no others: nobody waits for a reply any more."""
        self._given_up = True
        for sock in filter(None, list(self._sockets)):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _pause(self, seconds: float) -> None:
        """Sleep, but not on when given up; raises UnavailableError then."""
        for _ in range(math.ceil(seconds / _NAP)):
            if not self._given_up:
                time.sleep(min(seconds, _NAP))
        if self._given_up:
            raise UnavailableError("the endpoint is not waited for any more")

    def _once(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes, float]:
        """Status, body, and how many seconds the server asks to wait."""
        kind = http.client.HTTPSConnection if self.secure else http.client.HTTPConnection
        connection = kind(self.host, self.port, timeout=self.timeout)
        connection.response_class = response_until(time.monotonic() + self.timeout)
        sock: socket.socket | None = None
        try:
            connection.connect()
            self._sockets.add(sock := connection.sock)
            self._pause(0.0)  # a signal may have come while it connected
            # The name may resolve differently now than when it was checked: look at the peer itself.
            if not self.allow_public and not is_private(str(sock.getpeername()[0])):
                raise UnavailableError("the endpoint's host name now has a public address")
            connection.request(method, self.path + path, body, {"Content-Type": "application/json"})
            reply = connection.getresponse()
            content = reply.read(MAX_REPLY + 1)
            if reply.length and len(content) <= MAX_REPLY:
                raise http.client.IncompleteRead(b"", reply.length)
            return reply.status, content, _seconds(reply.getheader("Retry-After"))
        finally:
            self._sockets.discard(sock)
            connection.close()


def _seconds(header: str | None) -> float:
    """A wait in seconds, as far as one is given in numbers and is not unreasonable."""
    return min(float(header), LONGEST_WAIT) if header and header.isascii() and header.isdigit() else 0.0


def _parse(url: str) -> tuple[bool, str, int, str]:
    """Whether TLS is used, host, port and path of a base URL."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
        raise ConfigError("endpoint must be a plain http:// or https:// base URL, such as http://127.0.0.1:8000/v1")
    secure = parts.scheme == "https"
    path = parts.path.rstrip("/").removesuffix("/chat/completions")
    return secure, parts.hostname, port or (443 if secure else 80), path


def is_private(address: str) -> bool:
    """Whether an IP address is loopback or private (link-local, which holds cloud metadata services, is not)."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    parsed = getattr(parsed, "ipv4_mapped", None) or parsed
    return (parsed.is_private or parsed.is_loopback) and not parsed.is_link_local


def _refusal(status: int) -> RecordError | UnavailableError:
    if 300 <= status < 400:
        return UnavailableError("the endpoint redirects elsewhere, which is refused: give the final URL")
    if status in MISCONFIGURED:
        return UnavailableError(f"the endpoint answers with status {status}: check --endpoint and --endpoint-model")
    return RecordError("endpoint-refused", f"the endpoint refused the question with status {status}", "$")


def _png(image: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _reported(reply: bytes) -> str:
    """The model that a well-formed reply names, without control characters and no longer than a name is."""
    name = msgspec.json.decode(reply, type=_Named).model
    return "".join(letter for letter in name if letter.isprintable())[:200] if isinstance(name, str) else ""


def _response(reply: bytes) -> Response:
    if len(reply) > MAX_REPLY:
        raise RecordError("endpoint-malformed", "the endpoint's reply is longer than 16 MiB", "$")
    try:
        answer = msgspec.json.decode(reply, type=_Completion)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        # Not chained: a JSON error holds the reply, and the reply holds the answer.
        raise RecordError("endpoint-malformed", "the endpoint's reply is no chat completion", "$") from None
    choice = answer.choices[0]
    listed = choice.logprobs.content if choice.logprobs else None
    logprob = sum(token.logprob for token in listed) if listed else None
    if logprob is not None and not math.isfinite(logprob):
        raise RecordError("endpoint-malformed", "the endpoint's log-probabilities are not finite", "$")
    text, counted = choice.message.content, answer.usage.completion_tokens if answer.usage else None
    if not text:
        raise RecordError("endpoint-empty", "the endpoint gave an empty answer", "$")
    return Response(
        text=unicodedata.normalize("NFC", text),
        logprob=logprob,
        tokens=len(listed) if counted is None and listed else counted,
        finish="length" if choice.finish_reason == "length" else "stop",
    )
