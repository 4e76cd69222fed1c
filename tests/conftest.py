"""Shared by all tests: no network, one thread, the folders of small models."""

import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from data.stub_server import Stub

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

GUARD = Path(__file__).parent / "guard"


def _shut_the_network() -> Path:
    """Here and in all Python processes that tests start; returns the file for what was refused."""
    descriptor, seen = tempfile.mkstemp(prefix="tests-network-")
    os.close(descriptor)
    os.environ["TESTS_NETWORK_SEEN"] = seen
    guard = sys.modules.get("sitecustomize")
    if not hasattr(guard, "watch"):  # a worker of pytest-xdist has it from its own start
        places = [str(GUARD), *filter(None, [os.environ.get("PYTHONPATH")])]
        os.environ["PYTHONPATH"] = os.pathsep.join(places)
        specification = importlib.util.spec_from_file_location("network_guard", GUARD / "sitecustomize.py")
        assert specification is not None
        assert specification.loader is not None
        guard = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(guard)
    guard.keep_in_children()
    return Path(seen)


_SEEN = _shut_the_network()


def pytest_unconfigure() -> None:
    """Nothing is left behind."""
    _SEEN.unlink(missing_ok=True)


@pytest.fixture(autouse=True, scope="module")
def _no_server_yet() -> None:
    """Loopback is open from the first server that a test of this module opens."""
    os.environ.pop("TESTS_OWN_SERVER", None)


@pytest.fixture(autouse=True)
def _no_network() -> Iterator[None]:
    """A refused connection fails the test, also where the error was swallowed or raised in a child."""
    before = _SEEN.stat().st_size
    yield
    with _SEEN.open() as stream:
        stream.seek(before)
        refused = stream.read().splitlines()
    assert not refused, f"the network was tried: {refused[:3]}"


@pytest.fixture(scope="session")
def demo_model() -> Path:
    """The embedded demo model folder."""
    return Path(__file__).parents[1] / "medpo_cli" / "demo" / "phantom-llava"


@pytest.fixture
def stub() -> "Iterator[Stub]":
    """A server on loopback that answers as it is told."""
    from data.stub_server import Stub

    one = Stub()
    yield one
    one.server.shutdown()
    one.server.server_close()
