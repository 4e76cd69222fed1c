"""A time limit on a whole reply: ``http.client`` only knows one for each read from the socket."""

import http.client
import io
import socket
import time
from typing import Any


class _Until(io.RawIOBase):
    """What a socket receives before a moment of ``time.monotonic()``; a later read raises TimeoutError."""

    def __init__(self, sock: socket.socket, moment: float) -> None:
        self._socket, self._moment = sock, moment
        self._received = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._moment - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)
        return self._received.readinto(buffer)

    def close(self) -> None:
        self._received.close()
        super().close()


def response_until(moment: float) -> type[http.client.HTTPResponse]:
    """A class for ``HTTPConnection.response_class`` whose replies must have arrived, headers and all, by ``moment``.

    A server that sends a byte now and then gets no more time than one that sends none.

    Args:
        moment: of ``time.monotonic()``; reading on after it raises TimeoutError.
    """

    class Response(http.client.HTTPResponse):
        def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
            super().__init__(sock, *args, **kwargs)
            self.fp.close()
            self.fp = io.BufferedReader(_Until(sock, moment))

    return Response
