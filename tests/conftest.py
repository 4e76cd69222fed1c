"""Shared by all tests: no network, one thread, the folders of small models."""

import os
import socket
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

_connect = socket.socket.connect


def _only_loopback(self: socket.socket, address: object) -> None:
    host = address[0] if isinstance(address, tuple) else address
    if self.family == socket.AF_UNIX or str(host) in {"127.0.0.1", "::1", "localhost"}:
        _connect(self, address)  # type: ignore[arg-type]
        return
    raise AssertionError(f"a test tried to reach the network: {host}")


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket.socket, "connect", _only_loopback)


@pytest.fixture(scope="session")
def demo_model() -> Path:
    """The embedded demo model folder."""
    return Path(__file__).parents[1] / "medpo_cli" / "demo" / "phantom-llava"
